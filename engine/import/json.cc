#include "engine/import/json.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"

namespace strata {
namespace {

constexpr size_t kMaxBytes = 64 << 20;
constexpr int kMaxDepth = 256;

}  // namespace

absl::StatusOr<Json> ParseJson(std::string_view text) {
  if (text.size() > kMaxBytes) return InvalidArgument("json: must be <= ", kMaxBytes, " bytes, got ", text.size());
  bool too_deep = false;
  const auto watch = [&](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxDepth;
    return !too_deep;
  };
  Json json = Json::parse(text.begin(), text.end(), watch, /*allow_exceptions=*/false);
  if (too_deep) return InvalidArgument("json: must be nested <= ", kMaxDepth, " deep, got more");
  if (json.is_discarded()) return InvalidArgument("json: must be a JSON text, got something else");
  return json;
}

const Json& Member(const Json& object, const char* key) {
  static const Json& null = *new Json();
  if (!object.is_object()) return null;
  const auto it = object.find(key);
  return it == object.end() ? null : *it;
}

std::string Quote(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

absl::Status WrongValue(const std::string& path, const std::string& rule, const Json& value) {
  return InvalidArgument(path, ": must be ", rule, ", got ", Quote(value));
}

absl::StatusOr<double> JsonDouble(const std::string& path, const Json& value) {
  if (value.is_number()) return value.get<double>();
  if (value == "inf") return std::numeric_limits<double>::infinity();
  if (value == "-inf") return -std::numeric_limits<double>::infinity();
  if (value == "nan") return std::numeric_limits<double>::quiet_NaN();
  return WrongValue(path, "a number", value);
}

absl::StatusOr<int64_t> JsonInt(const std::string& path, const Json& value) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return WrongValue(path, "a whole number below 2^63", value);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number_float()) {
    const double d = value.get<double>();
    if (std::floor(d) == d && std::abs(d) < 9e15) return static_cast<int64_t>(d);
  }
  return WrongValue(path, "a whole number", value);
}

absl::StatusOr<bool> JsonBool(const std::string& path, const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  return WrongValue(path, "true or false", value);
}

absl::StatusOr<std::string> JsonString(const std::string& path, const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return WrongValue(path, "a string", value);
}

}  // namespace strata
