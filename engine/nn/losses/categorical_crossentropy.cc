// Keras' cross entropy of one-hot targets.
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/component.h"
#include "engine/nn/losses/keras_class.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// -sum t ln p of logits, with the gradient of TensorFlow's kernel: p - t, whether or not the targets sum to one.
Value FromLogits(Value logits, Value t, int axis) {
  const Value log_p = LogSoftmax(logits, axis);
  // The logarithm of the exponentials' sum, at the price of one element.
  const Value log_sum = SliceAxis(logits, axis, 0, 1) - SliceAxis(log_p, axis, 0, 1);
  const Value nothing = (1 - ReduceSum(Detach(t), {axis}, true)) * (log_sum - Detach(log_sum));
  return -ReduceSum(t * log_p, {axis}) + Squeeze(nothing, axis);
}

LossTerms Build(Scope& s, const v1::CategoricalCrossentropy& a, const LossArgs& args) {
  Value t = LikePrediction(args);
  const Shape& x = args.prediction.value.shape();
  if (t.shape() != x) {
    s.Fail(absl::StrCat("y_true|y_pred: shapes must be equal, got ", ShapeString(t.shape()), " and ", ShapeString(x)));
    return {};
  }
  const int axis = ClassAxis(s, a.axis(), args.prediction);
  if (axis < 0) return {};
  if (a.label_smoothing() != 0)
    t = t * (1 - a.label_smoothing()) + a.label_smoothing() / static_cast<double>(t.dim(axis));
  const Value logits = LogitsOf(args.prediction, a.from_logits());
  if (logits) return {FromLogits(logits, t, axis), {}};
  const Value p = args.prediction.value;
  return {-ReduceSum(t * LogProbabilities(p / ReduceSum(p, {axis}, true)), {axis}), {}};
}

}  // namespace

LossComponents CategoricalCrossentropyLoss() {
  return Loss<v1::CategoricalCrossentropy>("categorical_crossentropy", &Build);
}

}  // namespace strata::nn
