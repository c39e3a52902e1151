// Feature columns in TensorFlow's words: the functions of tf.feature_column, and the classes that configurations hold.
#include "engine/import/feature_columns.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/writer.h"
#include "engine/nn/schema.h"

namespace strata::framework {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// The class behind each function.
struct ColumnClass {
  const char* class_name;
  const char* function;
};
constexpr ColumnClass kClasses[] = {
    {"NumericColumn", "numeric_column"},
    {"BucketizedColumn", "bucketized_column"},
    {"IdentityCategoricalColumn", "categorical_column_with_identity"},
    {"VocabularyListCategoricalColumn", "categorical_column_with_vocabulary_list"},
    {"VocabularyFileCategoricalColumn", "categorical_column_with_vocabulary_file"},
    {"HashedCategoricalColumn", "categorical_column_with_hash_bucket"},
    {"CrossedColumn", "crossed_column"},
    {"IndicatorColumn", "indicator_column"},
    {"EmbeddingColumn", "embedding_column"},
};

// Arguments that change nothing here, or only if they are set.
absl::Status CheckIgnored(const std::string& path, const std::string& key, const Json& value, bool* ignored) {
  *ignored = key == "dtype" || key == "normalizer_fn" || key == "ckpt_to_load_from" || key == "tensor_name_in_ckpt" ||
             key == "use_safe_embedding_lookup";
  if (!*ignored || key == "dtype" || key == "use_safe_embedding_lookup" || value.is_null()) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat(path, ": must be None, got ", Quote(value)));
}

// Texts and numbers stand in fields of their own.
absl::Status SetVocabulary(const std::string& path, const Json& value, v1::VocabularyListColumn* column) {
  if (!value.is_array() || value.empty()) return WrongValue(path, "a list that is not empty", value);
  for (size_t i = 0; i < value.size(); ++i) {
    const std::string at = absl::StrCat(path, "[", i, "]");
    if (value[0].is_string()) {
      STRATA_ASSIGN_OR_RETURN(*column->add_vocabulary_list(), JsonString(at, value[i]));
    } else {
      STRATA_ASSIGN_OR_RETURN(const int64_t number, JsonInt(at, value[i]));
      column->add_vocabulary_numbers(number);
    }
  }
  return absl::OkStatus();
}

absl::Status SetKeys(const std::string& path, const Json& value, v1::CrossedColumn* column) {
  if (!value.is_array() || value.size() < 2) return WrongValue(path, "a list of two keys or more", value);
  for (size_t i = 0; i < value.size(); ++i) {
    v1::CrossKey* key = column->add_keys();
    if (value[i].is_string()) {
      key->set_key(value[i].get<std::string>());
    } else {
      STRATA_RETURN_IF_ERROR(SetFeatureColumn(absl::StrCat(path, "[", i, "]"), value[i], key->mutable_column()));
    }
  }
  return absl::OkStatus();
}

absl::Status SetColumnArgument(const std::string& path, const std::string& key, const Json& value, Message* column) {
  auto* vocabulary = google::protobuf::DynamicCastToGenerated<v1::VocabularyListColumn>(column);
  auto* crossed = google::protobuf::DynamicCastToGenerated<v1::CrossedColumn>(column);
  if (vocabulary != nullptr && key == "vocabulary_list") return SetVocabulary(path, value, vocabulary);
  if (crossed != nullptr && key == "keys") return SetKeys(path, value, crossed);
  if (crossed != nullptr && key == "hash_key") {
    if (value.is_null()) return absl::OkStatus();
    STRATA_ASSIGN_OR_RETURN(const int64_t hash_key, JsonInt(path, value));
    crossed->set_hash_key(static_cast<uint64_t>(hash_key));
    return absl::OkStatus();
  }
  std::string name = key == "number_buckets" ? "num_buckets" : key;
  const FieldDescriptor* field = nn::FindArgument(column->GetDescriptor(), v1::KERAS, name);
  if (field == nullptr) {
    bool ignored = false;
    STRATA_RETURN_IF_ERROR(CheckIgnored(path, key, value, &ignored));
    return ignored ? absl::OkStatus() : InvalidArgument(path, ": unknown argument, got ", Quote(value));
  }
  if (value.is_null()) return absl::OkStatus();
  const Json list = key == "default_value" && field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && value.is_number()
                        ? Json::array({value})
                        : value;
  return SetField({.dialect = v1::KERAS}, path, list, field, column);
}

}  // namespace

absl::Status SetFeatureColumn(const std::string& path, const Json& value, v1::FeatureColumn* column) {
  STRATA_ASSIGN_OR_RETURN(Form form, FormOf(path, value));
  for (const ColumnClass& c : kClasses) {
    if (form.name == c.class_name) form.name = c.function;
  }
  const FieldDescriptor* kind = nn::FindClass(v1::FeatureColumn::descriptor(), v1::KERAS, form.name);
  if (kind == nullptr) return NoComponent(v1::KERAS, path, form);
  Message* sub = column->GetReflection()->MutableMessage(column, kind);
  if (form.config != nullptr) {
    for (const auto& [key, argument] : form.config->items()) {
      STRATA_RETURN_IF_ERROR(SetColumnArgument(Below(path, key), key, argument, sub));
    }
  }
  return CheckRequired({.dialect = v1::KERAS}, path, *sub);
}

absl::StatusOr<Json> WriteFeatureColumn(const v1::FeatureColumn& column) {
  const FieldDescriptor* kind = nn::KindOf(column);
  if (kind == nullptr) return InvalidArgument("feature_columns: must have a kind, got none");
  const Message& sub = column.GetReflection()->GetMessage(column, kind);
  Json config = Json::object();
  for (int i = 0; i < sub.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = sub.GetDescriptor()->field(i);
    if (field->name() == "vocabulary_numbers" || field->name() == "keys") continue;
    STRATA_ASSIGN_OR_RETURN(config[nn::ArgumentName(field, v1::KERAS)], WriteValue({.dialect = v1::KERAS}, sub, field));
  }
  if (column.has_vocabulary_list()) {
    const auto& list = column.vocabulary_list();
    if (!list.vocabulary_numbers().empty()) {
      config["vocabulary_list"] =
          Json(std::vector<int64_t>(list.vocabulary_numbers().begin(), list.vocabulary_numbers().end()));
    }
    config["dtype"] = list.vocabulary_numbers().empty() ? "string" : "int64";
  }
  if (column.has_vocabulary_file()) config["dtype"] = "string";
  if (column.has_identity()) {
    config["number_buckets"] = config["num_buckets"];
    config.erase("num_buckets");
  }
  if (column.has_numeric()) {
    config["dtype"] = "float32";
    config["normalizer_fn"] = nullptr;
  }
  if (column.has_embedding()) {
    config["ckpt_to_load_from"] = config["tensor_name_in_ckpt"] = nullptr;
    config["use_safe_embedding_lookup"] = true;
  }
  for (const v1::CrossKey& key : column.crossed().keys()) {
    if (!key.has_column()) {
      config["keys"].push_back(key.key());
      continue;
    }
    STRATA_ASSIGN_OR_RETURN(Json part, WriteFeatureColumn(key.column()));
    config["keys"].push_back(std::move(part));
  }
  std::string class_name = nn::SchemaOfComponent(kind).keras(0);
  for (const ColumnClass& c : kClasses) {
    if (class_name == c.function) class_name = c.class_name;
  }
  return Json{{"class_name", class_name}, {"config", std::move(config)}};
}

void AddFeatureInputs(const v1::FeatureColumn& column, std::map<std::string, v1::Input>* inputs) {
  const auto add = [&](const std::string& key, v1::DataType type, std::vector<int64_t> shape) {
    v1::Input input;
    input.set_name(key);
    input.set_dtype(type);
    input.mutable_shape()->Add(shape.begin(), shape.end());
    inputs->emplace(key, std::move(input));
  };
  switch (column.kind_case()) {
    case v1::FeatureColumn::kNumeric: {
      const auto& a = column.numeric();
      const std::vector<int64_t> shape(a.shape().begin(), a.shape().end());
      return add(a.key(), v1::FLOAT32, shape.empty() ? std::vector<int64_t>{1} : shape);
    }
    case v1::FeatureColumn::kBucketized:
      return AddFeatureInputs(column.bucketized().source_column(), inputs);
    case v1::FeatureColumn::kIdentity:
      return add(column.identity().key(), v1::INT64, {-1});
    case v1::FeatureColumn::kVocabularyList:
      return add(column.vocabulary_list().key(),
                 column.vocabulary_list().vocabulary_numbers().empty() ? v1::BYTES : v1::INT64, {-1});
    case v1::FeatureColumn::kVocabularyFile:
      return add(column.vocabulary_file().key(), v1::BYTES, {-1});
    case v1::FeatureColumn::kHashBucket: {
      const std::string& dtype = column.hash_bucket().dtype();
      return add(column.hash_bucket().key(), dtype.empty() || dtype == "string" ? v1::BYTES : v1::INT64, {-1});
    }
    case v1::FeatureColumn::kCrossed:
      for (const v1::CrossKey& key : column.crossed().keys()) {
        if (key.has_column()) {
          AddFeatureInputs(key.column(), inputs);
        } else {
          add(key.key(), v1::BYTES, {-1});
        }
      }
      return;
    case v1::FeatureColumn::kIndicator:
      return AddFeatureInputs(column.indicator().categorical_column(), inputs);
    case v1::FeatureColumn::kEmbedding:
      return AddFeatureInputs(column.embedding().categorical_column(), inputs);
    case v1::FeatureColumn::KIND_NOT_SET:
      return;
  }
}

}  // namespace strata::framework
