// JSON from outside: parsed with limits, never by exceptions.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace strata {

using Json = nlohmann::json;

// INVALID_ARGUMENT with the reason if `text` is no JSON, larger than 64 MiB, or nested deeper than 256.
absl::StatusOr<Json> ParseJson(std::string_view text);

// A member of an object; null where there is none, or no object.
const Json& Member(const Json& object, const char* key);

// A value as an error quotes it, cut to 60 characters.
std::string Quote(const Json& value);

// INVALID_ARGUMENT "path: must be <rule>, got <value>".
absl::Status WrongValue(const std::string& path, const std::string& rule, const Json& value);

// A number, or the texts "inf", "-inf" and "nan" for what JSON lacks.
absl::StatusOr<double> JsonDouble(const std::string& path, const Json& value);
// A whole number; 2.0 counts.
absl::StatusOr<int64_t> JsonInt(const std::string& path, const Json& value);
absl::StatusOr<bool> JsonBool(const std::string& path, const Json& value);
absl::StatusOr<std::string> JsonString(const std::string& path, const Json& value);

}  // namespace strata
