// Keras' binary cross entropy with easy examples weighed down.
#include "engine/nn/losses/component.h"
#include "engine/nn/losses/keras_binary.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// alpha_t (1 - p_t)^gamma BCE
LossTerms Build(Scope& s, const v1::BinaryFocalCrossentropy& a, const LossArgs& args) {
  const Value logits = LogitsOf(args.prediction, a.from_logits());
  if (!CheckBinaryShapes(s, args, logits)) return {};
  const Value t = SmoothBinary(LikePrediction(args), a.label_smoothing());
  const Value p = a.from_logits() ? Sigmoid(args.prediction.value) : args.prediction.value;
  const Value bce = logits ? BinaryFromLogits(logits, t) : BinaryFromProbabilities(p, t);
  const Value p_t = t * p + (1 - t) * (1 - p);
  Value values = Pow(1 - p_t, Like(p, a.gamma())) * bce;
  if (a.apply_class_balancing()) values = values * (t * a.alpha() + (1 - t) * (1 - a.alpha()));
  if (values && values.rank() > 0) values = ReduceMean(values, {a.axis()});
  return {values, {}};
}

}  // namespace

LossComponents BinaryFocalCrossentropyLoss() {
  return Loss<v1::BinaryFocalCrossentropy>("binary_focal_crossentropy", &Build);
}

}  // namespace strata::nn
