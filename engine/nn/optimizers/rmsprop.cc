// Gradients divided by the root of their mean square.
#include "engine/nn/optimizers/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Keras' legacy rule has the epsilon inside the root only where a momentum makes it call TensorFlow's fused op.
OptimizerRule Make(const OptimizerUse& use, const v1::Rmsprop& a) {
  const bool cycles = use.cycles();
  const bool legacy = use.definition.legacy();
  OptimizerRule r;
  r.learning_rate = a.learning_rate();
  r.slots = {{"square", 0}};
  const bool centered = a.centered(), keras = use.dialect == v1::KERAS;
  const double rho = a.rho(), eps = a.epsilon(), momentum = a.momentum();
  const bool has_momentum = momentum > 0 || cycles, inside = keras && (!legacy || momentum > 0);
  if (centered) r.slots.push_back({"mean", 0});
  if (has_momentum) r.slots.push_back({"momentum", 0});
  if (cycles) {
    r.num_scalars = 1;
    r.scalars = [](const UpdateNumbers& n) { return std::vector<double>{n.momentum}; };
  }
  r.update = [=](Value w, Value g, std::span<Value> slots, std::span<const Value> s) {
    slots[0] = slots[0] * rho + Square(g) * (1 - rho);
    Value spread = slots[0];
    if (centered) {
      slots[1] = slots[1] * rho + g * (1 - rho);
      spread = spread - Square(slots[1]);
    }
    const Value root = inside ? Sqrt(spread + eps) : Sqrt(spread) + eps;
    if (keras) {  // the buffer holds the learning rate
      Value step = g * s[kRate] / root;
      if (momentum > 0) step = slots.back() = slots.back() * momentum + step;
      return w - step;
    }
    Value step = g / root;
    if (has_momentum) {
      step = slots.back() = Times(slots.back(), momentum, cycles ? &s[kFirst] : nullptr) + step;
    }
    return w - step * s[kRate];
  };
  return r;
}

}  // namespace

OptimizerComponents Rmsprop() { return Optimizer<v1::Rmsprop>("rmsprop", &Make); }

}  // namespace strata::nn
