// PyTorch's binary cross entropy of logits.
#include "engine/nn/losses/component.h"
#include "engine/nn/losses/pytorch_binary.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// (1 - t) z + l (ln(1 + e^-|z|) + max(-z, 0)), l = 1 + (pos_weight - 1) t
LossTerms Build(Scope& s, const v1::BinaryCrossEntropyLogits& a, const LossArgs& args) {
  if (!SameShape(s, args)) return {};
  const Value z = args.prediction.value, t = LikePrediction(args);
  const Value tail = Softplus(-z);
  Value values;
  if (a.has_pos_weight()) {
    const Value l = (LossFactor(s, "pos_weight", a.pos_weight(), a.pos_weight_shape(), z) - 1) * t + 1;
    values = (1 - t) * z + l * tail;
  } else {
    values = (1 - t) * z + tail;
  }
  if (a.has_weight()) values = values * LossFactor(s, "weight", a.weight(), a.weight_shape(), values);
  return {values, {}};
}

}  // namespace

LossComponents BinaryCrossEntropyLogitsLoss() {
  return Loss<v1::BinaryCrossEntropyLogits>("binary_cross_entropy_logits", &Build);
}

}  // namespace strata::nn
