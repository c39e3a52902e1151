// Adam, and AdamW, which differs by its decay only.
#include <cmath>

#include "engine/nn/optimizers/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// PyTorch: w -= rate / c1 * m / (sqrt(v) / sqrt(c2) + eps). Keras: w -= rate * sqrt(c2) / c1 * m / (sqrt(v) + eps).
OptimizerRule Make(const OptimizerUse& use, const v1::Adam& a) {
  const bool cycles = use.cycles();
  OptimizerRule r;
  r.learning_rate = a.learning_rate();
  r.slots = {{"m", 0}, {"v", 0}};
  if (a.amsgrad()) r.slots.push_back({"v_max", 0});
  r.num_scalars = cycles ? 3 : 2;
  const double b1 = a.beta_1(), b2 = a.beta_2(), eps = a.epsilon();
  const bool amsgrad = a.amsgrad(), keras = use.dialect == v1::KERAS;
  r.scalars = [=](const UpdateNumbers& n) {
    const double rate = n.learning_rate;
    if (keras) {
      // Keras computes these in float32, where 1 - beta_2^t has few digits left: trajectories show it.
      const float power1 = std::pow(static_cast<float>(b1), static_cast<float>(n.t));
      const float power2 = std::pow(static_cast<float>(b2), static_cast<float>(n.t));
      return std::vector<double>{static_cast<float>(rate) * std::sqrt(1 - power2) / (1 - power1), 1};
    }
    const double t = static_cast<double>(n.t), beta = cycles ? n.momentum : b1;
    std::vector<double> own{rate / (1 - std::pow(beta, t)), 1 / std::sqrt(1 - std::pow(b2, t))};
    if (cycles) own.push_back(1 - beta);
    return own;
  };
  r.update = [=](Value w, Value g, std::span<Value> slots, std::span<const Value> s) {
    slots[0] = slots[0] + Times(g - slots[0], 1 - b1, cycles ? &s[kFirst + 2] : nullptr);
    slots[1] = slots[1] + (Square(g) - slots[1]) * (1 - b2);
    Value v = slots[1];
    if (amsgrad) v = slots[2] = Max(slots[2], v);
    Value root = Sqrt(v);
    if (!keras) root = root * s[kFirst + 1];
    return w - slots[0] * s[kFirst] / (root + eps);
  };
  return r;
}

}  // namespace

OptimizerComponents Adam() {
  return {Optimizer<v1::Adam>("adam", &Make), Optimizer<v1::Adam>("adamw", &Make)
                                                  .DecouplesDecay([](const v1::Optimizer&) { return true; })
                                                  .DefaultDecay(0.01, 0.004)};
}

}  // namespace strata::nn
