// Adam with Nesterov's momentum.
#include <algorithm>
#include <cmath>
#include <memory>

#include "engine/nn/optimizers/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// The running product of NAdam's momenta mu_t = b1 (1 - 0.96^(t psi) / 2), as one parameter takes it. Steps come in
// order but for a resumed run: then the product is computed again.
class MomentumProduct {
 public:
  // `keras`, if given, says how often a momentum is multiplied (see NadamProduct); otherwise each is once.
  MomentumProduct(double beta, double decay, const v1::NadamProduct* keras) : beta_(beta), decay_(decay) {
    if (keras != nullptr) {
      weights_ = keras->weights_size();
      since_ = keras->since();
      first_count_ = 1 + (keras->traces() - 1) * weights_;
      eager_ = keras->eager();
    }
    Restart();
  }

  double At(int64_t t) const { return beta_ * (1 - 0.5 * std::pow(0.96, static_cast<double>(t) * decay_)); }
  // What the parameter takes in update t.
  double Through(int64_t t, int turn) {
    if (t <= last_) Restart();
    // A product of 0 stays what it is.
    while (last_ + 1 < t && product_ > 0) Finish(last_ + 1);
    return product_ * Power(t, Multiplications(t, turn));
  }

 private:
  void Restart() {
    last_ = since_;
    product_ = 1;
    count_ = first_count_;
  }
  void Finish(int64_t t) {
    const int64_t times = Multiplications(t, weights_ - 1);
    product_ *= Power(t, times);
    if (eager_) count_ += times;
    last_ = t;
  }
  double Power(int64_t t, int64_t times) const { return std::pow(At(t), static_cast<double>(times)); }
  // Of update t's momentum, until the parameter `turn` takes the product.
  int64_t Multiplications(int64_t t, int64_t turn) const {
    if (first_count_ == 0 || turn < 0) return 1;
    const int64_t as_it_is = t + 1 - count_;  // the parameter at which the count is the number of the next update
    if (eager_) return std::clamp<int64_t>(as_it_is, 0, turn + 1);
    return turn + 1 - (as_it_is >= 0 && as_it_is <= turn ? 1 : 0);
  }

  double beta_, decay_;
  int64_t weights_ = 1, since_ = 0;
  int64_t first_count_ = 0;  // Keras'; 0: there is none
  bool eager_ = false;
  // After the updates through `last_`: the product, and the count at the first parameter.
  int64_t last_ = 0, count_ = 0;
  double product_ = 1;
};

OptimizerRule Make(const OptimizerUse& use, const v1::Nadam& a) {
  const v1::NadamProduct* product = use.definition.has_nadam_product() ? &use.definition.nadam_product() : nullptr;
  OptimizerRule r;
  r.learning_rate = a.learning_rate();
  r.slots = {{"m", 0}, {"v", 0}};
  r.num_scalars = 3;
  const double b1 = a.beta_1(), b2 = a.beta_2(), eps = a.epsilon();
  const double decay = use.dialect == v1::KERAS ? a.schedule_decay() : a.momentum_decay();
  auto momenta = std::make_shared<MomentumProduct>(b1, decay, product);
  r.scalars = [=](const UpdateNumbers& n) {
    const double taken = momenta->Through(n.t, n.turn), now = momenta->At(n.t), next = momenta->At(n.t + 1);
    return std::vector<double>{n.learning_rate * (1 - now) / (1 - taken), n.learning_rate * next / (1 - taken * next),
                               1 / (1 - std::pow(b2, static_cast<double>(n.t)))};
  };
  r.update = [=](Value w, Value g, std::span<Value> slots, std::span<const Value> s) {
    slots[0] = slots[0] + (g - slots[0]) * (1 - b1);
    slots[1] = slots[1] * b2 + Square(g) * (1 - b2);
    const Value root = Sqrt(slots[1] * s[kFirst + 2]) + eps;
    return w - (g * s[kFirst] + slots[0] * s[kFirst + 1]) / root;
  };
  return r;
}

}  // namespace

OptimizerComponents Nadam() {
  return Optimizer<v1::Nadam>("nadam", &Make).DecouplesDecay([](const v1::Optimizer& o) {
    return o.nadam().decoupled_weight_decay();
  });
}

}  // namespace strata::nn
