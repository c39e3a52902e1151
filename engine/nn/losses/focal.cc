// The focal loss, as both frameworks are taught it.
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/component.h"
#include "engine/nn/losses/pytorch_binary.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// alpha_t (1 - p_t)^gamma BCE. Keras' rows sum over the last axis.
LossTerms Build(Scope& s, const v1::Focal& a, const LossArgs& args) {
  if (s.pytorch() && args.target.shape() != args.prediction.value.shape()) {
    s.Fail(absl::StrCat("y_true|target: must have the prediction's shape ", ShapeString(args.prediction.value.shape()),
                        ", got ", ShapeString(args.target.shape())));
    return {};
  }
  if (!CheckBroadcast(s, args)) return {};
  const Value p = args.prediction.value, t = LikePrediction(args);
  const Value p_t = t * p + (1 - t) * (1 - p);
  const Value alpha = t * a.alpha() + (1 - t) * (1 - a.alpha());
  Value bce;
  if (s.pytorch()) {
    bce = BinaryCrossEntropy(p, t);
  } else {
    const Value q = Min(Max(p, 1e-7), 1 - 1e-7);
    bce = -(t * Log(q + 1e-7) + (1 - t) * Log(1 - q + 1e-7));
  }
  Value values = alpha * Pow(1 - p_t, Like(p, a.gamma())) * bce;
  if (!s.pytorch() && values.rank() > 0) values = ReduceSum(values, {-1});
  return {values, {}};
}

}  // namespace

LossComponents FocalLoss() { return Loss<v1::Focal>("focal", &Build); }

}  // namespace strata::nn
