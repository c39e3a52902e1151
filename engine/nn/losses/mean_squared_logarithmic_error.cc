// Keras' squared difference of logarithms.
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// (ln(max(p, 1e-7) + 1) - ln(max(t, 1e-7) + 1))^2
LossTerms Build(Scope& s, const v1::MeanSquaredLogarithmicError&, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const auto log1 = [](Value v) { return Log(Max(v, 1e-7) + 1); };
  return MeanOverLastAxis(Square(log1(args.prediction.value) - log1(LikePrediction(args))));
}

}  // namespace

LossComponents MeanSquaredLogarithmicErrorLoss() {
  return Loss<v1::MeanSquaredLogarithmicError>("mean_squared_logarithmic_error", &Build);
}

}  // namespace strata::nn
