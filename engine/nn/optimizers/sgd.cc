// Gradient descent with momentum.
#include "engine/nn/optimizers/component.h"

namespace strata::nn {
namespace {

OptimizerRule Make(const OptimizerUse& use, const v1::Sgd& a) {
  const bool cycles = use.cycles();
  OptimizerRule r;
  r.learning_rate = a.learning_rate();
  const double momentum = a.momentum();
  const bool nesterov = a.nesterov();
  if (momentum == 0 && !cycles) {
    r.update = [](Value w, Value g, std::span<Value>, std::span<const Value> s) { return w - g * s[kRate]; };
    return r;
  }
  r.slots = {{"momentum", 0}};
  if (use.dialect == v1::KERAS) {  // the velocity holds the learning rate
    r.update = [=](Value w, Value g, std::span<Value> slots, std::span<const Value> s) {
      const Value step = g * s[kRate];
      slots[0] = slots[0] * momentum - step;
      return nesterov ? w + (slots[0] * momentum - step) : w + slots[0];
    };
    return r;
  }
  // The first velocity is the gradient, without dampening.
  r.num_scalars = cycles ? 2 : 1;
  r.scalars = [dampening = a.dampening(), cycles](const UpdateNumbers& n) {
    std::vector<double> own{n.t == 1 ? 1 : 1 - dampening};
    if (cycles) own.push_back(n.momentum);
    return own;
  };
  r.update = [=](Value w, Value g, std::span<Value> slots, std::span<const Value> s) {
    const Value* moving = cycles ? &s[kFirst + 1] : nullptr;
    slots[0] = Times(slots[0], momentum, moving) + g * s[kFirst];
    return w - (nesterov ? g + Times(slots[0], momentum, moving) : slots[0]) * s[kRate];
  };
  return r;
}

}  // namespace

OptimizerComponents Sgd() { return Optimizer<v1::Sgd>("sgd", &Make); }

}  // namespace strata::nn
