// Rates by an expression, which the host evaluates over numbers.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "engine/expr/parser.h"

namespace strata::nn {

// A function of `epoch` (and in Keras of `lr`, the rate before). Thread-compatible.
class Formula {
 public:
  // Checks the text, and that it gives a number at the start.
  static absl::StatusOr<std::shared_ptr<const Formula>> Make(const std::string& kind, const std::string& text,
                                                             std::set<std::string> names);

  // NaN where the expression has no value, as for a division by zero: the session refuses the step.
  double At(int64_t epoch, double rate) const;

 private:
  absl::StatusOr<double> Compute(int64_t epoch, double rate) const;

  expr::Program program_;
  bool has_rate_ = false;
};

// Values that follow from the one before: computed once for growing e, anew when e falls (a checkpoint was loaded).
struct Last {
  double base = 0, value = 0;
  int64_t e = -1;
};

}  // namespace strata::nn
