// Gradient clipping.
#include <cmath>

#include "engine/nn/optimizers/optimizer.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// The p-norm of all gradients together.
Value NormOf(const std::vector<Value>& gradients, double p) {
  Value total;
  for (const Value& g : gradients) {
    Value part;
    if (std::isinf(p)) {
      part = ReduceMax(Abs(g), AllAxes(g));
      total = total ? Max(total, part) : part;
      continue;
    }
    part = p == 2 ? SumAll(Square(g)) : p == 1 ? SumAll(Abs(g)) : SumAll(Pow(Abs(g), Like(g, p)));
    total = total ? total + part : part;
  }
  if (std::isinf(p) || p == 1) return total;
  return p == 2 ? Sqrt(total) : Pow(total, Like(total, 1 / p));
}

}  // namespace

Clipped Clip(v1::Dialect dialect, const v1::Clipping& c, const std::vector<Value>& gradients) {
  Clipped out{gradients, {}};
  if (gradients.empty()) return out;
  out.norm = NormOf(gradients, 2);
  if (c.has_norm()) {
    for (Value& g : out.gradients) g = g * (c.norm() / Max(NormOf({g}, 2), c.norm()));
  } else if (c.has_global_norm()) {
    const double p = c.has_norm_type() ? c.norm_type() : 2;
    const Value norm = p == 2 ? out.norm : NormOf(gradients, p);
    out.norm = norm;
    const Value factor = dialect == v1::PYTORCH ? Min(c.global_norm() / (norm + 1e-6), 1.0)
                                                : c.global_norm() / Max(norm, c.global_norm());
    for (Value& g : out.gradients) g = g * factor;
  } else if (c.has_value()) {
    for (Value& g : out.gradients) g = Min(Max(g, -c.value()), c.value());
  }
  return out;
}

}  // namespace strata::nn
