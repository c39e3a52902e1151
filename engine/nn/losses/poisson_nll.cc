// PyTorch's negative log likelihood of a Poisson distribution.
#include <cmath>

#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

LossTerms Build(Scope& s, const v1::PoissonNll& a, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const Value x = args.prediction, t = LikePrediction(args);
  Value values = a.log_input() ? Exp(x) - t * x : x - t * Log(x + a.epsilon());
  if (a.full()) {  // Stirling's t ln t - t + ln(2 pi t) / 2 where t > 1
    const Value large = Greater(t, Like(t, 1)), safe = Select(large, t, Like(t, 1));
    values = values + Select(large, safe * Log(safe) - safe + Log(safe * (2 * M_PI)) * 0.5, Like(t, 0));
  }
  return {values, {}};
}

}  // namespace

LossComponents PoissonNllLoss() { return Loss<v1::PoissonNll>("poisson_nll", &Build).Takes(kNumbersAsFloats); }

}  // namespace strata::nn
