#include "engine/import/dtypes.h"

#include <nlohmann/json.hpp>
#include <string_view>

namespace strata::framework {
namespace {

constexpr struct {
  std::string_view name;
  v1::DataType type;
} kTypes[] = {{"float32", v1::FLOAT32}, {"float64", v1::FLOAT64}, {"float16", v1::FLOAT16}, {"bfloat16", v1::BFLOAT16},
              {"int8", v1::INT8},       {"int16", v1::INT16},     {"int32", v1::INT32},     {"int64", v1::INT64},
              {"uint8", v1::UINT8},     {"bool", v1::BOOL},       {"string", v1::BYTES}};

}  // namespace

absl::StatusOr<v1::DataType> DataTypeFrom(const std::string& path, const Json& value) {
  if (value.is_null()) return v1::FLOAT32;
  for (const auto& known : kTypes) {
    if (value.is_string() && value.get_ref<const std::string&>() == known.name) return known.type;
  }
  return WrongValue(path, "a type's name", value);
}

std::string DataTypeName(v1::DataType type) {
  for (const auto& known : kTypes) {
    if (known.type == type) return std::string(known.name);
  }
  return "float32";
}

}  // namespace strata::framework
