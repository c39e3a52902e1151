// What the input stage and the layer DenseFeatures share of feature columns.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "strata/v1/feature_columns.pb.h"

namespace strata::nn {

// TensorFlow's name of a column: "age_bucketized", "a_X_b", "tags_embedding".
std::string ColumnName(const v1::FeatureColumn& column);

// The columns in the order of their names, which is the order of their outputs and of the layer's arguments. Fails for
// a column that is not dense and for equal names.
absl::StatusOr<std::vector<const v1::FeatureColumn*>> SortedColumns(const v1::DenseFeatures& features);

// The categorical column inside an indicator or embedding; null for columns of numbers.
const v1::FeatureColumn* CategoricalPart(const v1::FeatureColumn& column);

// Ids of a categorical column are 0 to this - 1.
absl::StatusOr<int64_t> NumBuckets(const v1::FeatureColumn& categorical);

}  // namespace strata::nn
