#include "cli/input.h"

#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "engine/base/status.h"

namespace strata::cli {

absl::StatusOr<v1::Input> ParseInput(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  v1::Input input;
  if (parts.size() != 2 || parts[0].empty()) return InvalidArgument("--input: must be NAME:SHAPE, got \"", text, "\"");
  input.set_name(parts[0]);
  for (absl::string_view size : absl::StrSplit(parts[1], ',', absl::SkipEmpty())) {
    int64_t value;
    if (!absl::SimpleAtoi(size, &value)) return InvalidArgument("--input: must have whole numbers, got \"", text, "\"");
    input.add_shape(value);
  }
  return input;
}

}  // namespace strata::cli
