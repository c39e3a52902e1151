// Feature columns in TensorFlow's words.
#pragma once

#include <map>
#include <string>

#include "engine/import/component.h"
#include "strata/v1/feature_columns.pb.h"

namespace strata::framework {

absl::Status SetFeatureColumn(const std::string& path, const Json& value, v1::FeatureColumn* column);
absl::StatusOr<Json> WriteFeatureColumn(const v1::FeatureColumn& column);

// The inputs that a column reads, by key: texts are BYTES.
void AddFeatureInputs(const v1::FeatureColumn& column, std::map<std::string, v1::Input>* inputs);

}  // namespace strata::framework
