// The sign of the momentum.
#include "engine/nn/optimizers/component.h"

namespace strata::nn {
namespace {

OptimizerRule Make(const OptimizerUse&, const v1::Lion& a) {
  OptimizerRule r;
  r.learning_rate = a.learning_rate();
  r.slots = {{"m", 0}};
  const double b1 = a.beta_1(), b2 = a.beta_2();
  r.update = [=](Value w, Value g, std::span<Value> slots, std::span<const Value> s) {
    const Value direction = Sign(slots[0] * b1 + g * (1 - b1));
    slots[0] = slots[0] * b2 + g * (1 - b2);
    return w - direction * s[kRate];
  };
  return r;
}

}  // namespace

OptimizerComponents Lion() { return Optimizer<v1::Lion>("lion", &Make); }

}  // namespace strata::nn
