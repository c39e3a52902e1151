#include "cli/json.h"

#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "google/protobuf/util/json_util.h"

namespace strata::cli {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  return text;
}

absl::Status ReadJson(const std::string& path, google::protobuf::Message* message) {
  STRATA_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  const auto status = google::protobuf::util::JsonStringToMessage(text, message);
  if (!status.ok()) return InvalidArgument(path, ": ", std::string(status.message()));
  return absl::OkStatus();
}

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text, options).ok()) return message.DebugString();
  return text;
}

}  // namespace strata::cli
