// Keras' categorical cross entropies. Directly after a softmax the logits are used.
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/loss.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

constexpr double kEpsilon = 1e-7;

int PositiveAxis(Scope& s, int64_t axis, Value x) {
  const int a = static_cast<int>(axis < 0 ? axis + x.rank() : axis);
  if (a >= 0 && a < x.rank()) return a;
  s.Fail(absl::StrCat("axis: must name an axis of ", ShapeString(x.shape()), ", got ", axis));
  return -1;
}

// ln p of probabilities, clipped.
Value LogProbabilities(Value p) { return Log(Min(Max(p, kEpsilon), 1 - kEpsilon)); }

// -sum t ln p of logits, with the gradient of TensorFlow's kernel: p - t, whether or not the targets sum to one.
Value FromLogits(Value logits, Value t, int axis) {
  const Value log_p = LogSoftmax(logits, axis);
  // The logarithm of the exponentials' sum, at the price of one element.
  const Value log_sum = SliceAxis(logits, axis, 0, 1) - SliceAxis(log_p, axis, 0, 1);
  const Value nothing = (1 - ReduceSum(Detach(t), {axis}, true)) * (log_sum - Detach(log_sum));
  return -ReduceSum(t * log_p, {axis}) + Squeeze(nothing, axis);
}

LossTerms BuildCategorical(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  const auto& a = loss.categorical_crossentropy();
  Value t = LikePrediction(args);
  const Shape& x = args.prediction.value.shape();
  if (t.shape() != x) {
    s.Fail(absl::StrCat("y_true|y_pred: shapes must be equal, got ", ShapeString(t.shape()), " and ", ShapeString(x)));
    return {};
  }
  const int axis = PositiveAxis(s, a.axis(), args.prediction);
  if (axis < 0) return {};
  if (a.label_smoothing() != 0)
    t = t * (1 - a.label_smoothing()) + a.label_smoothing() / static_cast<double>(t.dim(axis));
  const Value logits = LogitsOf(args.prediction, a.from_logits(), true);
  if (logits) return {FromLogits(logits, t, axis), {}};
  const Value p = args.prediction.value;
  return {-ReduceSum(t * LogProbabilities(p / ReduceSum(p, {axis}, true)), {axis}), {}};
}

// Probabilities are clipped and their logarithms taken as logits, so they are normalised again.
LossTerms BuildSparse(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  const auto& a = loss.sparse_categorical_crossentropy();
  const int axis = PositiveAxis(s, a.axis(), args.prediction);
  if (axis < 0) return {};
  const Value logits = LogitsOf(args.prediction, a.from_logits(), true);
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

std::vector<LossComponent> KerasClassLosses() {
  return {
      {"categorical_crossentropy", &BuildCategorical,
       [](const v1::Loss& l) { return l.categorical_crossentropy().reduction(); }},
      {"sparse_categorical_crossentropy", &BuildSparse,
       [](const v1::Loss& l) { return l.sparse_categorical_crossentropy().reduction(); }},
  };
}

}  // namespace strata::nn
