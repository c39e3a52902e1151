// Text to a program.
//
//   STRATA_ASSIGN_OR_RETURN(Program p, Parse("d = y_pred - y_true\nmean(d ** 2)"));
//
// Errors: INVALID_ARGUMENT "line:column: rule, got value".
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/expr/ast.h"

namespace strata::expr {

// A program: assignments, then the results.
absl::StatusOr<Program> Parse(std::string_view source);
// One expression alone: a shape, a condition, a value of a hyper-parameter.
absl::StatusOr<Node> ParseExpression(std::string_view source);

// Checks what needs no shapes: every name is an argument, one of `names` or assigned before, every function exists and
// gets arguments that it takes.
absl::Status Check(const Program& program, std::set<std::string> names);
absl::Status Check(const Node& expression, const std::set<std::string>& names);

}  // namespace strata::expr
