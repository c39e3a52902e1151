// Adadelta.
#include "engine/nn/optimizers/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Each step is as large as earlier ones were: sqrt(d + eps) / sqrt(s + eps) g.
OptimizerRule Make(const OptimizerUse&, const v1::Adadelta& a) {
  OptimizerRule r;
  r.learning_rate = a.learning_rate();
  r.slots = {{"square", 0}, {"delta", 0}};
  const double rho = a.rho(), eps = a.epsilon();
  r.update = [=](Value w, Value g, std::span<Value> slots, std::span<const Value> s) {
    slots[0] = slots[0] * rho + Square(g) * (1 - rho);
    const Value step = Sqrt(slots[1] + eps) / Sqrt(slots[0] + eps) * g;
    slots[1] = slots[1] * rho + Square(step) * (1 - rho);
    return w - step * s[kRate];
  };
  return r;
}

}  // namespace

OptimizerComponents Adadelta() { return Optimizer<v1::Adadelta>("adadelta", &Make); }

}  // namespace strata::nn
