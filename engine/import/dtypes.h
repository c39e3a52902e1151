// Element types by Keras' names.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/import/json.h"
#include "strata/v1/tensor.pb.h"

namespace strata::framework {

// null is float32.
absl::StatusOr<v1::DataType> DataTypeFrom(const std::string& path, const Json& value);
// "float32" for a type that Keras' inputs do not have.
std::string DataTypeName(v1::DataType type);

}  // namespace strata::framework
