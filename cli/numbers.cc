#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "cli/commands.h"

namespace strata::cli {

// CLI11's own words give the range as the 300 digits of the largest double.
CLI::Validator AtLeast(int64_t least) {
  return CLI::Validator(
      [least](std::string& text) {
        int64_t value = 0;
        if (absl::SimpleAtoi(text, &value) && value >= least) return std::string();
        return absl::StrCat("must be a whole number >= ", least, ", got \"", text, "\"");
      },
      "");
}

}  // namespace strata::cli
