#include "engine/nn/optimizers/optimizer.h"

#include <cmath>

#include "absl/strings/match.h"
#include "engine/base/status.h"
#include "engine/nn/optimizers/rules.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

struct Decay {
  double coupled = 0;    // g += coupled * w
  double decoupled = 0;  // w *= 1 - rate * decoupled
};

// `rule.update` and `rule.scalars` of the bare method, wrapped with decay and maximisation.
void Wrap(OptimizerRule* rule, const Decay& decay, bool maximize) {
  rule->num_scalars += kFirst;
  rule->scalars = [own = rule->scalars, decay](const UpdateNumbers& n) {
    std::vector<double> all{n.learning_rate, 1 - n.learning_rate * decay.decoupled};
    if (own) {
      for (double v : own(n)) all.push_back(v);
    }
    return all;
  };
  rule->update = [own = rule->update, decay, maximize](Value w, Value g, std::span<Value> slots,
                                                       std::span<const Value> scalars) {
    if (maximize) g = -g;
    if (decay.coupled != 0) g = g + w * decay.coupled;
    if (decay.decoupled != 0) w = w * scalars[kKeep];
    return own(w, g, slots, scalars);
  };
}

// Adds the moving average as the last slot, and its scalars: the shares of the old average and of the weights, and
// whether the weights become the average.
void AddAverage(v1::Dialect dialect, const v1::MovingAverage& a, OptimizerRule* rule) {
  const size_t first = static_cast<size_t>(rule->num_scalars);
  rule->num_scalars += 3;
  rule->slots.push_back({kAverageSlot, 0, true});
  // PyTorch's average starts as a copy of the weights after the first update.
  const bool copies = dialect == v1::PYTORCH;
  rule->scalars = [own = rule->scalars, momentum = a.momentum(), every = a.overwrite_frequency(),
                   copies](const UpdateNumbers& n) {
    std::vector<double> all = own(n);
    const double keep = copies && n.t == 1 ? 0 : momentum;
    all.insert(all.end(), {keep, 1 - keep, every > 0 && n.t % every == 0 ? 1.0 : 0.0});
    return all;
  };
  rule->update = [own = rule->update, first, overwrites = a.has_overwrite_frequency()](
                     Value w, Value g, std::span<Value> slots, std::span<const Value> s) {
    const Value next = own(w, g, slots.first(slots.size() - 1), s.first(first));
    const Value average = slots.back() = slots.back() * s[first] + next * s[first + 1];
    return overwrites ? Select(Greater(s[first + 2], Like(s[first + 2], 0)), average, next) : next;
  };
}

OptimizerRule MakeSgd(v1::Dialect dialect, const v1::Sgd& a, bool cycles) {
  OptimizerRule r;
  r.learning_rate = a.learning_rate();
  const double momentum = a.momentum();
  const bool nesterov = a.nesterov();
  if (momentum == 0 && !cycles) {
    r.update = [](Value w, Value g, std::span<Value>, std::span<const Value> s) { return w - g * s[kRate]; };
    return r;
  }
  r.slots = {{"momentum", 0}};
  if (dialect == v1::KERAS) {  // the velocity holds the learning rate
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

// PyTorch: w -= rate / c1 * m / (sqrt(v) / sqrt(c2) + eps). Keras: w -= rate * sqrt(c2) / c1 * m / (sqrt(v) + eps).
OptimizerRule MakeAdam(v1::Dialect dialect, const v1::Adam& a, bool cycles) {
  OptimizerRule r;
  r.learning_rate = a.learning_rate();
  r.slots = {{"m", 0}, {"v", 0}};
  if (a.amsgrad()) r.slots.push_back({"v_max", 0});
  r.num_scalars = cycles ? 3 : 2;
  const double b1 = a.beta_1(), b2 = a.beta_2(), eps = a.epsilon();
  const bool amsgrad = a.amsgrad(), keras = dialect == v1::KERAS;
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

// Keras' legacy rule has the epsilon inside the root only where a momentum makes it call TensorFlow's fused op.
OptimizerRule MakeRmsprop(v1::Dialect dialect, const v1::Rmsprop& a, bool legacy, bool cycles) {
  OptimizerRule r;
  r.learning_rate = a.learning_rate();
  r.slots = {{"square", 0}};
  const bool centered = a.centered(), keras = dialect == v1::KERAS;
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

OptimizerRule MakeAdagrad(v1::Dialect dialect, const v1::Adagrad& a, bool legacy) {
  OptimizerRule r;
  r.learning_rate = a.learning_rate();
  r.slots = {{"sum", a.initial_accumulator_value()}};
  r.num_scalars = 1;
  r.scalars = [decay = a.lr_decay()](const UpdateNumbers& n) {
    return std::vector<double>{n.learning_rate / (1 + static_cast<double>(n.t - 1) * decay)};
  };
  const bool inside = dialect == v1::KERAS && !legacy;
  const double eps = a.epsilon();
  r.update = [=](Value w, Value g, std::span<Value> slots, std::span<const Value> s) {
    slots[0] = slots[0] + Square(g);
    return w - g * s[kFirst] / (inside ? Sqrt(slots[0] + eps) : Sqrt(slots[0]) + eps);
  };
  return r;
}

}  // namespace

absl::StatusOr<OptimizerRule> MakeOptimizer(v1::Dialect dialect, const v1::Optimizer& o, bool decay) {
  OptimizerRule rule;
  bool maximize = false;
  const bool cycles = o.schedule().has_one_cycle() && o.schedule().one_cycle().cycle_momentum();
  switch (o.kind_case()) {
    case v1::Optimizer::kSgd:
      rule = MakeSgd(dialect, o.sgd(), cycles);
      maximize = o.sgd().maximize();
      break;
    case v1::Optimizer::kAdam:
      rule = MakeAdam(dialect, o.adam(), cycles);
      maximize = o.adam().maximize();
      break;
    case v1::Optimizer::kAdamw:
      rule = MakeAdam(dialect, o.adamw(), cycles);
      maximize = o.adamw().maximize();
      break;
    case v1::Optimizer::kRmsprop:
      rule = MakeRmsprop(dialect, o.rmsprop(), o.legacy(), cycles);
      maximize = o.rmsprop().maximize();
      break;
    case v1::Optimizer::kAdagrad:
      rule = MakeAdagrad(dialect, o.adagrad(), o.legacy());
      maximize = o.adagrad().maximize();
      break;
    case v1::Optimizer::kAdadelta:
      rule = MakeAdadelta(o.adadelta());
      maximize = o.adadelta().maximize();
      break;
    case v1::Optimizer::kAdamax:
      rule = MakeAdamax(dialect, o.adamax(), cycles);
      maximize = o.adamax().maximize();
      break;
    case v1::Optimizer::kNadam:
      rule = MakeNadam(dialect, o.nadam(), o.has_nadam_product() ? &o.nadam_product() : nullptr);
      maximize = o.nadam().maximize();
      break;
    case v1::Optimizer::kLion:
      rule = MakeLion(o.lion());
      break;
    case v1::Optimizer::KIND_NOT_SET:
      return InvalidArgument("optimizer.kind: must be set, got none");
  }
  Decay d;
  double rate = o.has_weight_decay() ? o.weight_decay() : 0;
  if (o.has_adamw() && !o.has_weight_decay()) rate = dialect == v1::PYTORCH ? 0.01 : 0.004;
  const bool coupled =
      dialect == v1::PYTORCH && !o.has_adamw() && !(o.has_nadam() && o.nadam().decoupled_weight_decay());
  if (decay) (coupled ? d.coupled : d.decoupled) = rate;
  Wrap(&rule, d, maximize);
  if (o.has_moving_average()) AddAverage(dialect, o.moving_average(), &rule);
  return rule;
}

bool Matches(const std::string& name, const google::protobuf::RepeatedPtrField<std::string>& patterns) {
  for (const std::string& p : patterns) {
    if (absl::StrContains(name, p)) return true;
  }
  return false;
}

}  // namespace strata::nn
