// Gradients divided by the root of their squares' sum.
#include "engine/nn/optimizers/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

OptimizerRule Make(const OptimizerUse& use, const v1::Adagrad& a) {
  const bool legacy = use.definition.legacy();
  OptimizerRule r;
  r.learning_rate = a.learning_rate();
  r.slots = {{"sum", a.initial_accumulator_value()}};
  r.num_scalars = 1;
  r.scalars = [decay = a.lr_decay()](const UpdateNumbers& n) {
    return std::vector<double>{n.learning_rate / (1 + static_cast<double>(n.t - 1) * decay)};
  };
  const bool inside = use.dialect == v1::KERAS && !legacy;
  const double eps = a.epsilon();
  r.update = [=](Value w, Value g, std::span<Value> slots, std::span<const Value> s) {
    slots[0] = slots[0] + Square(g);
    return w - g * s[kFirst] / (inside ? Sqrt(slots[0] + eps) : Sqrt(slots[0]) + eps);
  };
  return r;
}

}  // namespace

OptimizerComponents Adagrad() { return Optimizer<v1::Adagrad>("adagrad", &Make); }

}  // namespace strata::nn
