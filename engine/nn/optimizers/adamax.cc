// Adam with the infinity norm.
#include <cmath>

#include "engine/nn/optimizers/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// PyTorch: u = max(b2 u, |g| + eps); Keras: the epsilon joins u in the quotient only.
OptimizerRule Make(const OptimizerUse& use, const v1::Adamax& a) {
  const bool cycles = use.cycles();
  OptimizerRule r;
  r.learning_rate = a.learning_rate();
  r.slots = {{"m", 0}, {"u", 0}};
  r.num_scalars = 2;
  const double b1 = a.beta_1(), b2 = a.beta_2(), eps = a.epsilon();
  const bool keras = use.dialect == v1::KERAS;
  r.scalars = [b1, cycles](const UpdateNumbers& n) {
    const double beta = cycles ? n.momentum : b1;
    return std::vector<double>{n.learning_rate / (1 - std::pow(beta, static_cast<double>(n.t))), 1 - beta};
  };
  r.update = [=](Value w, Value g, std::span<Value> slots, std::span<const Value> s) {
    slots[0] = slots[0] + Times(g - slots[0], 1 - b1, cycles ? &s[kFirst + 1] : nullptr);
    const Value size = Abs(g);
    slots[1] = Max(slots[1] * b2, keras ? size : size + eps);
    return w - slots[0] * s[kFirst] / (keras ? slots[1] + eps : slots[1]);
  };
  return r;
}

}  // namespace

OptimizerComponents Adamax() { return Optimizer<v1::Adamax>("adamax", &Make); }

}  // namespace strata::nn
