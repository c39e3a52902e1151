#include "engine/nn/losses/keras_binary.h"

#include "absl/strings/str_cat.h"
#include "engine/ops/ops.h"

namespace strata::nn {

Value SmoothBinary(Value t, double smoothing) { return smoothing == 0 ? t : t * (1 - smoothing) + 0.5 * smoothing; }

Value BinaryFromLogits(Value z, Value t) {
  return Max(z, 0) - z * t + Log1p(Exp(Select(GreaterEqual(z, Like(z, 0)), -z, z)));
}

Value BinaryFromProbabilities(Value p, Value t) {
  // 1 - 1e-7 as a float is what Keras clips to.
  p = Min(Max(p, 1e-7), 1 - 1e-7);
  return -(t * Log(p + 1e-7) + (1 - t) * Log(1 - p + 1e-7));
}

bool CheckBinaryShapes(Scope& s, const LossArgs& args, Value logits) {
  if (!CheckBroadcast(s, args)) return false;
  if (!logits || args.target.shape() == args.prediction.value.shape()) return true;
  s.Fail(absl::StrCat("y_true|y_pred|target: logits and labels must have one shape, got ",
                      ShapeString(args.prediction.value.shape()), " and ", ShapeString(args.target.shape())));
  return false;
}

}  // namespace strata::nn
