#include "cli/json.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "google/protobuf/util/json_util.h"

namespace strata::cli {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text, piece(size_t{1} << 20, '\0');
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())) || file.gcount() > 0) {
    text.append(piece, 0, static_cast<size_t>(file.gcount()));
  }
  if (!file.eof()) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
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
