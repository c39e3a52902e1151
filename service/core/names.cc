#include "service/core/names.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"

namespace strata::service {

std::string Quote(absl::string_view text) {
  constexpr size_t kMax = 80;
  std::string quoted = absl::StrCat("\"", absl::CHexEscape(text.substr(0, kMax)), "\"");
  if (text.size() > kMax) absl::StrAppend(&quoted, "... (", text.size(), " bytes)");
  return quoted;
}

absl::Status CheckName(absl::string_view path, absl::string_view name) {
  if (name.empty()) return InvalidArgument(path, ": must be given, got nothing");
  bool good = name.size() <= 63 && absl::ascii_isalnum(name[0]);
  for (const char c : name) good = good && (absl::ascii_isalnum(c) || c == '_' || c == '.' || c == '-');
  if (!good) return InvalidArgument(path, ": must match [A-Za-z0-9][A-Za-z0-9_.-]{0,62}, got ", Quote(name));
  return absl::OkStatus();
}

absl::Status CheckText(absl::string_view path, absl::string_view text, size_t max_bytes) {
  if (text.size() > max_bytes)
    return InvalidArgument(path, ": must have at most ", max_bytes, " bytes, got ", text.size());
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20)
      return InvalidArgument(path, ": must have no control character, got ", Quote(text));
  }
  return absl::OkStatus();
}

std::string ShapeText(std::span<const int64_t> shape) { return absl::StrCat("[", absl::StrJoin(shape, ","), "]"); }

}  // namespace strata::service
