// Keras' negative log likelihood of a Poisson distribution.
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

LossTerms Build(Scope& s, const v1::Poisson&, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const Value p = args.prediction;
  return MeanOverLastAxis(p - LikePrediction(args) * Log(p + 1e-7));
}

}  // namespace

LossComponents PoissonLoss() { return Loss<v1::Poisson>("poisson", &Build); }

}  // namespace strata::nn
