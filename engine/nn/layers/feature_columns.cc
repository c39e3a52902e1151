#include "engine/nn/layers/feature_columns.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"

namespace strata::nn {
namespace {

// The parts of a cross, with those of crosses inside it.
void Leaves(const v1::CrossedColumn& cross, std::vector<std::string>* names) {
  for (const v1::CrossKey& key : cross.keys()) {
    if (key.has_column() && key.column().has_crossed()) {
      Leaves(key.column().crossed(), names);
    } else {
      names->push_back(key.has_column() ? ColumnName(key.column()) : key.key());
    }
  }
}

}  // namespace

std::string ColumnName(const v1::FeatureColumn& column) {
  switch (column.kind_case()) {
    case v1::FeatureColumn::kNumeric:
      return column.numeric().key();
    case v1::FeatureColumn::kBucketized:
      return absl::StrCat(ColumnName(column.bucketized().source_column()), "_bucketized");
    case v1::FeatureColumn::kIdentity:
      return column.identity().key();
    case v1::FeatureColumn::kVocabularyList:
      return column.vocabulary_list().key();
    case v1::FeatureColumn::kVocabularyFile:
      return column.vocabulary_file().key();
    case v1::FeatureColumn::kHashBucket:
      return column.hash_bucket().key();
    case v1::FeatureColumn::kCrossed: {
      std::vector<std::string> names;
      Leaves(column.crossed(), &names);
      std::sort(names.begin(), names.end());
      return absl::StrJoin(names, "_X_");
    }
    case v1::FeatureColumn::kIndicator:
      return absl::StrCat(ColumnName(column.indicator().categorical_column()), "_indicator");
    case v1::FeatureColumn::kEmbedding:
      return absl::StrCat(ColumnName(column.embedding().categorical_column()), "_embedding");
    case v1::FeatureColumn::KIND_NOT_SET:
      break;
  }
  return "";
}

const v1::FeatureColumn* CategoricalPart(const v1::FeatureColumn& column) {
  if (column.has_indicator()) return &column.indicator().categorical_column();
  if (column.has_embedding()) return &column.embedding().categorical_column();
  return nullptr;
}

absl::StatusOr<std::vector<const v1::FeatureColumn*>> SortedColumns(const v1::DenseFeatures& features) {
  std::vector<const v1::FeatureColumn*> columns;
  std::set<std::string> names;
  for (int i = 0; i < features.feature_columns_size(); ++i) {
    const v1::FeatureColumn& column = features.feature_columns(i);
    const bool dense = column.has_numeric() || column.has_bucketized() || CategoricalPart(column) != nullptr;
    if (!dense) {
      return InvalidArgument("feature_columns[", i,
                             "]: must be dense (numeric, bucketized, indicator, embedding), got ", ColumnName(column));
    }
    if (!names.insert(ColumnName(column)).second) {
      return InvalidArgument("feature_columns[", i, "]: must have a name of its own, got ", ColumnName(column),
                             " again");
    }
    columns.push_back(&column);
  }
  std::sort(columns.begin(), columns.end(),
            [](const v1::FeatureColumn* a, const v1::FeatureColumn* b) { return ColumnName(*a) < ColumnName(*b); });
  return columns;
}

absl::StatusOr<int64_t> NumBuckets(const v1::FeatureColumn& categorical) {
  switch (categorical.kind_case()) {
    case v1::FeatureColumn::kIdentity:
      return categorical.identity().num_buckets();
    case v1::FeatureColumn::kVocabularyList: {
      const auto& list = categorical.vocabulary_list();
      return std::max(list.vocabulary_list_size(), list.vocabulary_numbers_size()) + list.num_oov_buckets();
    }
    case v1::FeatureColumn::kVocabularyFile: {
      const auto& file = categorical.vocabulary_file();
      if (!file.has_vocabulary_size()) {
        return InvalidArgument("vocabulary_file: must be an asset of the model, got \"", file.vocabulary_file(), "\"");
      }
      return file.vocabulary_size() + file.num_oov_buckets();
    }
    case v1::FeatureColumn::kHashBucket:
      return categorical.hash_bucket().hash_bucket_size();
    case v1::FeatureColumn::kCrossed:
      return categorical.crossed().hash_bucket_size();
    case v1::FeatureColumn::kBucketized: {
      int64_t size = categorical.bucketized().boundaries_size() + 1;
      for (int64_t d : categorical.bucketized().source_column().numeric().shape()) size *= d;
      return size;
    }
    default:
      return InvalidArgument("categorical_column: must be categorical, got ", ColumnName(categorical));
  }
}

}  // namespace strata::nn
