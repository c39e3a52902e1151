#include "engine/nn/optimizers/optimizer.h"

#include "absl/strings/match.h"
#include "engine/base/status.h"
#include "engine/nn/optimizers/component.h"
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

}  // namespace

absl::StatusOr<OptimizerRule> MakeOptimizer(v1::Dialect dialect, const v1::Optimizer& o, bool decay) {
  const OptimizerComponent* component = FindOptimizer(o);
  if (component == nullptr) return InvalidArgument("optimizer.kind: must be set, got none");
  OptimizerRule rule = component->make({dialect, o});
  Decay d;
  const double rate = o.has_weight_decay() ? o.weight_decay() : component->default_decay(dialect);
  const bool coupled = dialect == v1::PYTORCH && !component->decouples_decay(o);
  if (decay) (coupled ? d.coupled : d.decoupled) = rate;
  Wrap(&rule, d, component->climbs(o));
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
