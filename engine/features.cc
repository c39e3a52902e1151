#include "engine/features.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/status.h"
#include "engine/feature_values.h"
#include "engine/nn/layers/feature_columns.h"

namespace strata {
namespace {

// The features that a column reads, by key.
void Keys(const v1::FeatureColumn& column, std::set<std::string>* keys) {
  switch (column.kind_case()) {
    case v1::FeatureColumn::kNumeric:
      keys->insert(column.numeric().key());
      return;
    case v1::FeatureColumn::kBucketized:
      return Keys(column.bucketized().source_column(), keys);
    case v1::FeatureColumn::kIdentity:
      keys->insert(column.identity().key());
      return;
    case v1::FeatureColumn::kVocabularyList:
      keys->insert(column.vocabulary_list().key());
      return;
    case v1::FeatureColumn::kVocabularyFile:
      keys->insert(column.vocabulary_file().key());
      return;
    case v1::FeatureColumn::kHashBucket:
      keys->insert(column.hash_bucket().key());
      return;
    case v1::FeatureColumn::kCrossed:
      for (const v1::CrossKey& key : column.crossed().keys()) {
        if (key.has_column()) {
          Keys(key.column(), keys);
        } else {
          keys->insert(key.key());
        }
      }
      return;
    default:
      if (const auto* part = nn::CategoricalPart(column); part != nullptr) Keys(*part, keys);
  }
}

std::vector<std::string> Lines(const std::string& content) {
  std::vector<std::string> lines = absl::StrSplit(content, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  for (std::string& line : lines) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
  }
  return lines;
}

// A vocabulary that stands in a file, as a list.
absl::Status LoadVocabulary(const v1::Model& model, const std::string& path, v1::FeatureColumn* column) {
  const v1::VocabularyFileColumn file = column->vocabulary_file();
  for (const v1::Asset& asset : model.assets()) {
    if (asset.name() != file.vocabulary_file()) continue;
    std::vector<std::string> lines = Lines(asset.content());
    if (file.has_vocabulary_size()) {
      if (file.vocabulary_size() > static_cast<int64_t>(lines.size())) {
        return InvalidArgument(path, ".vocabulary_file.vocabulary_size: must be at most the ", lines.size(),
                               " lines of ", asset.name(), ", got ", file.vocabulary_size());
      }
      lines.resize(file.vocabulary_size());
    }
    auto* list = column->mutable_vocabulary_list();
    list->set_key(file.key());
    for (std::string& line : lines) list->add_vocabulary_list(std::move(line));
    list->set_default_value(file.default_value());
    list->set_num_oov_buckets(file.num_oov_buckets());
    return absl::OkStatus();
  }
  return InvalidArgument(path, ".vocabulary_file.vocabulary_file: must be an asset of the model, got \"",
                         file.vocabulary_file(), "\"");
}

// `path` is the column's in the definition.
absl::Status LoadVocabularies(const v1::Model& model, const std::string& path, v1::FeatureColumn* column) {
  if (column->has_vocabulary_file()) return LoadVocabulary(model, path, column);
  if (column->has_indicator()) {
    return LoadVocabularies(model, path + ".indicator.categorical_column",
                            column->mutable_indicator()->mutable_categorical_column());
  }
  if (column->has_embedding()) {
    return LoadVocabularies(model, path + ".embedding.categorical_column",
                            column->mutable_embedding()->mutable_categorical_column());
  }
  if (!column->has_crossed()) return absl::OkStatus();
  for (int i = 0; i < column->crossed().keys_size(); ++i) {
    v1::CrossKey* key = column->mutable_crossed()->mutable_keys(i);
    if (!key->has_column()) continue;
    STRATA_RETURN_IF_ERROR(
        LoadVocabularies(model, absl::StrCat(path, ".crossed.keys[", i, "].column"), key->mutable_column()));
  }
  return absl::OkStatus();
}

// `path` is empty for the outermost model, otherwise it ends with a dot.
absl::Status RefuseNested(const v1::Model& model, const std::string& path) {
  for (int i = 0; i < model.layers_size(); ++i) {
    const v1::Layer& layer = model.layers(i);
    const std::string at = absl::StrCat(path, "layers[", i, "].");
    if (layer.has_dense_features() && !path.empty()) {
      return absl::UnimplementedError(
          absl::StrCat(at, "dense_features: must stand in the outermost model, got \"", layer.name(), "\""));
    }
    if (layer.has_model()) STRATA_RETURN_IF_ERROR(RefuseNested(layer.model(), at + "model."));
  }
  return absl::OkStatus();
}

std::string DerivedName(const v1::Call& call, const v1::FeatureColumn& column) {
  return absl::StrCat(call.name(), ":", nn::ColumnName(column));
}

// The call takes one argument for each column already: the model of numbers itself.
bool IsRewritten(const v1::Call& call, const v1::DenseFeatures& layer) {
  const auto columns = nn::SortedColumns(layer);
  if (!columns.ok() || call.args_size() != static_cast<int>(columns->size())) return false;
  bool any = false;
  for (int i = 0; i < call.args_size(); ++i) {
    const v1::FeatureColumn& column = *(*columns)[static_cast<size_t>(i)];
    if (nn::CategoricalPart(column) == nullptr) continue;
    if (call.args(i).call() != DerivedName(call, column)) return false;
    any = true;
  }
  return any;
}

// What the graph reads must be numbers. Paths are those of `given`.
absl::Status RefuseTexts(const v1::Model& given, const v1::Model& numbers) {
  for (const v1::Input& input : numbers.inputs()) {
    if (input.dtype() != v1::BYTES) continue;
    int i = 0;
    while (given.inputs(i).name() != input.name()) ++i;
    return InvalidArgument("inputs[", i, "].dtype: must be of numbers where no categorical column alone reads it, got ",
                           "BYTES");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::map<std::string, v1::Edge>> FeatureEdges(const std::string& path, const v1::Call& call,
                                                             const v1::DenseFeatures& layer) {
  std::set<std::string> keys;
  for (const v1::FeatureColumn& column : layer.feature_columns()) Keys(column, &keys);
  std::map<std::string, v1::Edge> edges(call.named_args().begin(), call.named_args().end());
  std::vector<v1::Edge> rest;
  for (const v1::Edge& edge : call.args()) {
    if (keys.count(edge.call()) == 0 || !edges.emplace(edge.call(), edge).second) rest.push_back(edge);
  }
  auto next = rest.begin();
  for (const std::string& key : keys) {
    if (edges.count(key) != 0) continue;
    if (next == rest.end()) return InvalidArgument(path, ".args: must have the feature \"", key, "\", got none");
    edges[key] = *next++;
  }
  return edges;
}

absl::Status FeatureStage::Rewrite(const v1::Model& given, int call_index, int layer_index) {
  v1::Call* call = model_.mutable_calls(call_index);
  v1::DenseFeatures* layer = model_.mutable_layers(layer_index)->mutable_dense_features();
  const std::string call_path = absl::StrCat("calls[", call_index, "]");
  const std::string layer_path = absl::StrCat("layers[", layer_index, "].dense_features");
  for (int i = 0; i < layer->feature_columns_size(); ++i) {
    STRATA_RETURN_IF_ERROR(LoadVocabularies(given, absl::StrCat(layer_path, ".feature_columns[", i, "]"),
                                            layer->mutable_feature_columns(i)));
  }
  const auto sorted = nn::SortedColumns(*layer);
  if (!sorted.ok()) return InvalidArgument(layer_path, ".", std::string(sorted.status().message()));
  const std::vector<const v1::FeatureColumn*>& columns = *sorted;
  STRATA_ASSIGN_OR_RETURN(const auto edges, FeatureEdges(call_path, *call, *layer));
  call->clear_args();
  call->clear_named_args();
  for (const v1::FeatureColumn* column : columns) {
    const v1::FeatureColumn* categorical = nn::CategoricalPart(*column);
    std::set<std::string> own;
    Keys(*column, &own);
    if (categorical == nullptr) {
      *call->add_args() = edges.at(*own.begin());
      continue;
    }
    for (const std::string& key : own) {
      const v1::Edge& edge = edges.at(key);
      const bool is_input = std::any_of(given.inputs().begin(), given.inputs().end(),
                                        [&](const v1::Input& input) { return input.name() == edge.call(); });
      if (!is_input || edge.call() != key) {
        return InvalidArgument(call_path, ".named_args[\"", key, "\"]: must be the model's input \"", key, "\", got \"",
                               edge.call(), "\"");
      }
      features_.push_back(key);
    }
    const std::string input = DerivedName(*call, *column);
    derived_.push_back({input, *categorical});
    v1::Input* added = model_.add_inputs();
    added->set_name(input);
    added->set_dtype(v1::INT64);
    added->add_shape(-1);
    call->add_args()->set_call(input);
  }
  return absl::OkStatus();
}

absl::StatusOr<FeatureStage> FeatureStage::Create(const v1::Model& model) {
  STRATA_RETURN_IF_ERROR(RefuseNested(model, ""));
  FeatureStage stage;
  stage.model_ = model;
  for (int i = 0; i < model.layers_size(); ++i) {
    const v1::Layer& layer = model.layers(i);
    if (!layer.has_dense_features()) continue;
    for (int c = 0; c < model.calls_size(); ++c) {
      if (model.calls(c).layer() != layer.name() || IsRewritten(model.calls(c), layer.dense_features())) continue;
      *stage.model_.mutable_layers(i)->mutable_dense_features() = layer.dense_features();
      STRATA_RETURN_IF_ERROR(stage.Rewrite(model, c, i));
    }
  }
  if (stage.empty()) {
    STRATA_RETURN_IF_ERROR(RefuseTexts(model, stage.model_));
    return stage;
  }
  std::sort(stage.features_.begin(), stage.features_.end());
  stage.features_.erase(std::unique(stage.features_.begin(), stage.features_.end()), stage.features_.end());
  // Inputs that only the stage reads are none of the graph.
  std::set<std::string> used;
  for (const v1::Call& call : stage.model_.calls()) {
    for (const v1::Edge& edge : call.args()) used.insert(edge.call());
    for (const auto& [name, edge] : call.named_args()) used.insert(edge.call());
  }
  for (const v1::Output& output : stage.model_.outputs()) used.insert(output.edge().call());
  auto* inputs = stage.model_.mutable_inputs();
  inputs->erase(std::remove_if(inputs->begin(), inputs->end(),
                               [&](const v1::Input& input) { return used.count(input.name()) == 0; }),
                inputs->end());
  STRATA_RETURN_IF_ERROR(RefuseTexts(model, stage.model_));
  stage.model_.clear_assets();
  for (Derived& derived : stage.derived_) {
    auto& vocabulary = stage.vocabularies_[derived.input];
    AddVocabularies(derived.column, &vocabulary);
  }
  return stage;
}

absl::StatusOr<NamedTensors> FeatureStage::Apply(const Features& features) const {
  NamedTensors result;
  for (const Derived& derived : derived_) {
    STRATA_ASSIGN_OR_RETURN(const std::vector<std::vector<int64_t>> rows,
                            CategoricalIds(derived.column, features, vocabularies_.at(derived.input)));
    size_t width = 1;
    for (const auto& row : rows) width = std::max(width, row.size());
    Tensor ids(DType::kI64, {static_cast<int64_t>(rows.size()), static_cast<int64_t>(width)});
    std::fill_n(ids.data<int64_t>(), ids.num_elements(), int64_t{-1});
    for (size_t i = 0; i < rows.size(); ++i) std::copy(rows[i].begin(), rows[i].end(), ids.data<int64_t>() + i * width);
    result[derived.input] = std::move(ids);
  }
  return result;
}

}  // namespace strata
