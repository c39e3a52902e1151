// Keras' error as a share of the target.
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// 100 |t - p| / max(|t|, 1e-7)
LossTerms Build(Scope& s, const v1::MeanAbsolutePercentageError&, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const Value t = LikePrediction(args);
  return MeanOverLastAxis(Abs((t - args.prediction.value) / Max(Abs(t), 1e-7)) * 100);
}

}  // namespace

LossComponents MeanAbsolutePercentageErrorLoss() {
  return Loss<v1::MeanAbsolutePercentageError>("mean_absolute_percentage_error", &Build);
}

}  // namespace strata::nn
