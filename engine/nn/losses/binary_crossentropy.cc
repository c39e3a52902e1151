// Keras' binary cross entropy: mean over one axis. Directly after a sigmoid the logits are used.
#include "engine/nn/losses/component.h"
#include "engine/nn/losses/keras_binary.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

LossTerms Build(Scope& s, const v1::BinaryCrossentropy& a, const LossArgs& args) {
  const Value logits = LogitsOf(args.prediction, a.from_logits());
  if (!CheckBinaryShapes(s, args, logits)) return {};
  const Value t = SmoothBinary(LikePrediction(args), a.label_smoothing());
  Value values = logits ? BinaryFromLogits(logits, t) : BinaryFromProbabilities(args.prediction.value, t);
  if (values && values.rank() > 0) values = ReduceMean(values, {a.axis()});
  return {values, {}};
}

}  // namespace

LossComponents BinaryCrossentropyLoss() { return Loss<v1::BinaryCrossentropy>("binary_crossentropy", &Build); }

}  // namespace strata::nn
