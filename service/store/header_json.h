// The subset of JSON that a safetensors header may use: one object of strings, unsigned integers, and nested objects
// and lists of a fixed shape. Duplicate keys, bad UTF-8, signs, fractions and exponents are refused.
#pragma once

#include <cstdint>
#include <string>
#include <vector>
#include "absl/strings/string_view.h"

#include "absl/status/status.h"

namespace strata::service {

// Reads tokens from left to right; each function skips leading blanks and is DATA_LOSS with the offset if something
// else comes. Thread-compatible.
class HeaderJson {
 public:
  explicit HeaderJson(absl::string_view text) : text_(text) {}

  absl::Status Expect(char c);
  // Consumes `c` if it comes next.
  bool Take(char c);
  absl::Status String(std::string* out);
  absl::Status Unsigned(uint64_t* out);
  absl::Status UnsignedList(std::vector<uint64_t>* out);
  // Nothing but spaces is left.
  absl::Status End();
  absl::Status Error(absl::string_view what) const;

 private:
  void SkipBlanks();
  absl::Status Escape(std::string* out);
  absl::Status Hex4(uint32_t* out);

  absl::string_view text_;
  size_t pos_ = 0;
};

bool IsUtf8(absl::string_view text);

}  // namespace strata::service
