// Protobuf messages as JSON files.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message.h"

namespace strata::cli {

absl::StatusOr<std::string> ReadFile(const std::string& path);

// Errors name the file. Unknown fields are errors.
absl::Status ReadJson(const std::string& path, google::protobuf::Message* message);

// Indented, with the fields' own names.
std::string ToJson(const google::protobuf::Message& message);

}  // namespace strata::cli
