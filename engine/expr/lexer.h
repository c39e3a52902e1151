// Text to tokens. Newlines inside brackets are spaces; a # starts a comment.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/expr/ast.h"

namespace strata::expr {

struct Token {
  enum class Kind : uint8_t { kInteger, kFloat, kString, kName, kSymbol, kNewline, kEnd };
  Kind kind = Kind::kEnd;
  Place place;
  std::string text;  // a string's contents, a name, a symbol
  int64_t integer = 0;
  double real = 0;
};

// INVALID_ARGUMENT "line:column: rule, got value".
absl::StatusOr<std::vector<Token>> Lex(std::string_view source);

// Modules whose functions are ours: tf.math.exp, torch.exp and exp are the same.
bool IsModule(const std::string& name);

// INVALID_ARGUMENT with the place in front.
template <typename... Parts>
absl::Status ErrorAt(Place place, const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(place.line, ":", place.column, ": ", parts...));
}

}  // namespace strata::expr
