// Keras' cross entropy of class indices.
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/component.h"
#include "engine/nn/losses/keras_class.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Probabilities are clipped and their logarithms taken as logits, so they are normalised again.
LossTerms Build(Scope& s, const v1::SparseCategoricalCrossentropy& a, const LossArgs& args) {
  const int axis = ClassAxis(s, a.axis(), args.prediction);
  if (axis < 0) return {};
  const Value logits = LogitsOf(args.prediction, a.from_logits());
  Value log_p = logits ? LogSoftmax(logits, axis) : LogProbabilities(args.prediction.value);
  if (axis != log_p.rank() - 1) log_p = SwapAxes(log_p, axis, -1);
  if (!logits) log_p = LogSoftmax(log_p, -1);
  Value label = args.target;
  if (label.rank() == log_p.rank() && label.dim(-1) == 1) label = Squeeze(label, -1);
  Shape want = log_p.shape();
  want.pop_back();
  if (label.shape() != want) {
    s.Fail(absl::StrCat("y_true: must have shape ", ShapeString(want), ", got ", ShapeString(args.target.shape())));
    return {};
  }
  if (label.dtype() != DType::kI64) label = Cast(label, DType::kI32);
  Value values = -PickLast(log_p, label);
  const Value in_range =
      And(GreaterEqual(label, Like(label, 0)), Less(label, Like(label, static_cast<double>(log_p.dim(-1)))));
  const std::string rule = absl::StrCat("y_true: classes must be in [0, ", log_p.dim(-1), ")");
  if (!a.has_ignore_class()) {
    s.Require(in_range, rule);
    return {values, {}, {}};
  }
  const Value ignored = Equal(label, Like(label, static_cast<double>(a.ignore_class())));
  s.Require(Or(in_range, ignored), rule);
  return {Select(ignored, Like(values, 0), values), {}, Not(ignored)};
}

}  // namespace

LossComponents SparseCategoricalCrossentropyLoss() {
  return Loss<v1::SparseCategoricalCrossentropy>("sparse_categorical_crossentropy", &Build);
}

}  // namespace strata::nn
