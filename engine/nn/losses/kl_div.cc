// PyTorch's Kullback-Leibler divergence of log-probabilities.
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// t (ln t - x), 0 where t = 0; with logarithms as targets e^t (t - x).
LossTerms Build(Scope& s, const v1::KlDiv& a, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const Value x = args.prediction, t = LikePrediction(args);
  if (a.log_target()) return {Exp(t) * (t - x), {}};
  const Value some = Not(Equal(t, Like(t, 0))), safe = Select(some, t, Like(t, 1));
  return {Select(some, t * Log(safe), Like(t, 0)) - t * x, {}};
}

}  // namespace

LossComponents KlDivLoss() { return Loss<v1::KlDiv>("kl_div", &Build); }

}  // namespace strata::nn
