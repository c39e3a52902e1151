// Losses of both frameworks as functions. PyTorch's (torch.nn.functional) take the prediction first and reduce; Keras'
// (tf.keras.losses, keras.backend) take the truth first and give one value for each sample, or for each element.
#include <algorithm>
#include <cmath>
#include <string>

#include "engine/base/status.h"
#include "engine/expr/functions.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::expr {
namespace {

using Result = absl::StatusOr<Object>;

// The two tensors of a call, of one floating-point type; the first and the second argument.
absl::StatusOr<Pair> Floats(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(Pair p, Promote(c.evaluator(), c.place(), *c.argument(0), *c.argument(1)));
  if (!IsFloat(p.a.dtype())) p = {Cast(p.a, DType::kF32), Cast(p.b, DType::kF32)};
  return p;
}

// PyTorch's reduction, the i-th argument.
Result Reduced(const Call& c, size_t i, Value v) {
  std::string how = "mean";
  if (c.has(i)) {
    if (c.argument(i)->text() == nullptr) return c.Error("reduction must be a text, got ", Describe(*c.argument(i)));
    how = *c.argument(i)->text();
  }
  if (how == "none") return Object(v);
  if (how == "sum") return Object(SumAll(v));
  if (how == "mean") return Object(SumAll(v) / static_cast<double>(v.num_elements()));
  if (how == "batchmean" && c.name() == "kl_div" && v.rank() > 0) {
    return Object(SumAll(v) / static_cast<double>(v.dim(0)));
  }
  return c.Error("reduction must be one of mean, sum, none, got '", how, "'");
}

// ----------------------------------------------------------------------------------------------------------- PyTorch

template <Value (*F)(Value)>
Result OfDifference(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Floats(c));
  return Reduced(c, 2, F(p.a - p.b));
}

// d^2 / (2 beta) below beta, |d| - beta / 2 beyond.
Result CallSmoothL1(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Floats(c));
  STRATA_ASSIGN_OR_RETURN(const double beta, c.Real(3, 1));
  if (beta < 0) return c.Error("beta must be >= 0, got ", beta);
  const Value d = Abs(p.a - p.b);
  if (beta == 0) return Reduced(c, 2, d);
  return Reduced(c, 2, Select(Less(d, Like(d, beta)), Square(d) * (0.5 / beta), d - 0.5 * beta));
}
Value HuberOf(Value difference, double delta) {
  const Value d = Abs(difference);
  return Select(LessEqual(d, Like(d, delta)), Square(difference) * 0.5, d * delta - 0.5 * delta * delta);
}
Result CallHuberLoss(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Floats(c));
  STRATA_ASSIGN_OR_RETURN(const double delta, c.Real(3, 1));
  return Reduced(c, 2, HuberOf(p.a - p.b, delta));
}

absl::StatusOr<Value> Weighted(const Call& c, size_t i, Value v) {
  if (!c.has(i)) return v;
  STRATA_ASSIGN_OR_RETURN(const Value w, c.Tensor(i));
  return v * Cast(w, v.dtype());
}

// Logarithms are at least -100.
Result CallBinaryCrossEntropy(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Floats(c));
  const Value v = -(p.b * Max(Log(p.a), -100) + (1 - p.b) * Max(Log1p(-p.a), -100));
  STRATA_ASSIGN_OR_RETURN(const Value weighted, Weighted(c, 3, v));
  return Reduced(c, 2, weighted);
}

// ln(1 + e^-z); the gradient at 0 is -1/2.
Value LogisticLoss(Value z) { return Max(z, 0) - z + Log1p(Exp(Select(GreaterEqual(z, Like(z, 0)), -z, z))); }

Result CallBinaryCrossEntropyWithLogits(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Floats(c));
  Value factor = Like(p.a, 1);
  if (c.has(4)) {
    STRATA_ASSIGN_OR_RETURN(const Value positive, c.Tensor(4));
    factor = (Cast(positive, p.a.dtype()) - 1) * p.b + 1;
  }
  STRATA_ASSIGN_OR_RETURN(const Value v, Weighted(c, 3, (1 - p.b) * p.a + factor * LogisticLoss(p.a)));
  return Reduced(c, 2, v);
}

// t (ln t - x), 0 where t is 0; or of the truth's logarithm.
Result CallKlDiv(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Floats(c));
  STRATA_ASSIGN_OR_RETURN(const bool log_target, c.Flag(3));
  if (log_target) return Reduced(c, 2, Exp(p.b) * (p.b - p.a));
  const Value none = Equal(p.b, Like(p.b, 0)), t = Select(none, Like(p.b, 1), p.b);
  return Reduced(c, 2, Select(none, Like(p.b, 0), t * (Log(t) - p.a)));
}

// Classes on axis 1 (or the only one): indices, or probabilities of the prediction's shape.
Result ClassLoss(const Call& c, bool logits) {
  STRATA_ASSIGN_OR_RETURN(Value x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const Value target, c.Tensor(1));
  if (x.rank() == 0) return c.Error("input must have an axis, got ", Describe(Object(x)));
  const int axis = x.rank() == 1 ? 0 : 1;
  if (logits) x = LogSoftmax(x, axis);
  if (logits && IsFloat(target.dtype())) {
    if (target.shape() != x.shape()) {
      return c.Error("target must have shape ", ShapeString(x.shape()), ", got ", Describe(Object(target)));
    }
    const Value v = -ReduceSum(x * Cast(target, x.dtype()), {axis});
    if (c.has(2) && *c.argument(2)->text() != "mean") return Reduced(c, 2, v);
    return Object(SumAll(v) / static_cast<double>(std::max<int64_t>(v.num_elements(), 1)));
  }
  Shape want = x.shape();
  want.erase(want.begin() + axis);
  if (IsFloat(target.dtype()) || target.dtype() == DType::kBool || target.shape() != want) {
    return c.Error("target must be integers of shape ", ShapeString(want), ", got ", Describe(Object(target)));
  }
  if (axis != x.rank() - 1) {  // the classes last
    std::vector<int64_t> order;
    for (int i = 0; i < x.rank(); ++i) {
      if (i != axis) order.push_back(i);
    }
    order.push_back(axis);
    x = Transpose(x, order);
  }
  return Reduced(c, 2, -PickLast(x, target.dtype() == DType::kI64 ? target : Cast(target, DType::kI32)));
}
Result CallCrossEntropy(const Call& c) { return ClassLoss(c, true); }
Result CallNllLoss(const Call& c) { return ClassLoss(c, false); }

// x1 . x2, each over its length, which is at least eps.
Result PytorchCosine(const Call& c, const Pair& p) {
  const int rank = std::max(p.a.rank(), p.b.rank());
  if (rank == 0) return c.Error("x1 must have an axis, got ", Describe(Object(p.a)));
  int axis = std::min(1, rank - 1);
  if (c.has(2)) {
    STRATA_ASSIGN_OR_RETURN(axis, c.Axis(2, rank));
  }
  STRATA_ASSIGN_OR_RETURN(const Shape shape, BroadcastShape(p.a.shape(), p.b.shape()));
  STRATA_ASSIGN_OR_RETURN(const double eps, c.Real(3, 1e-8));
  const auto unit = [&](Value x) {
    x = Broadcast(x, shape);
    const Value squares = ReduceSum(Square(x), {axis}, true), least = Like(squares, eps * eps);
    return x / Sqrt(Select(Less(squares, least), least, squares));
  };
  return Object(ReduceSum(unit(p.a) * unit(p.b), {axis}));
}
// |x1 - x2 + eps|_p along the last axis.
Result CallPairwiseDistance(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Floats(c));
  STRATA_ASSIGN_OR_RETURN(const double order, c.Real(2, 2));
  STRATA_ASSIGN_OR_RETURN(const double eps, c.Real(3, 1e-6));
  STRATA_ASSIGN_OR_RETURN(const bool keepdim, c.Flag(4));
  const Value d = Abs(p.a - p.b + eps);
  if (d.rank() == 0 || !(order > 0)) return c.Error("x1 must have an axis and p be > 0, got ", order);
  const int axis = d.rank() - 1;
  if (order == 1) return Object(ReduceSum(d, {axis}, keepdim));
  if (order == 2) return Object(Sqrt(ReduceSum(Square(d), {axis}, keepdim)));
  const Value sum = ReduceSum(Pow(d, Like(d, order)), {axis}, keepdim);
  return Object(Pow(sum, Like(sum, 1 / order)));
}

// ------------------------------------------------------------------------------------------------------------- Keras

constexpr double kEpsilon = 1e-7;

Value LastMean(Value v) {
  return v.rank() == 0 ? v : ReduceSum(v, {v.rank() - 1}) / static_cast<double>(std::max<int64_t>(v.dim(-1), 1));
}

template <Value (*F)(Value t, Value p)>
Result MeanOfLast(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Floats(c));
  return Object(LastMean(F(p.a, p.b)));
}
Value SquaredError(Value t, Value p) { return Square(p - t); }
Value AbsoluteError(Value t, Value p) { return Abs(p - t); }
Value PercentageError(Value t, Value p) { return Abs((t - p) / Max(Abs(t), kEpsilon)) * 100; }
Value LogCoshError(Value t, Value p) {
  const Value d = p - t;
  return d + LogisticLoss(d * 2) - M_LN2;  // d + ln(1 + e^-2d) - ln 2
}
Value PoissonError(Value t, Value p) { return p - t * Log(p + kEpsilon); }

Result CallHuber(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Floats(c));
  STRATA_ASSIGN_OR_RETURN(const double delta, c.Real(2, 1));
  return Object(LastMean(HuberOf(p.b - p.a, delta)));
}
Result CallKlDivergence(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Floats(c));
  const Value t = Min(Max(p.a, kEpsilon), 1), q = Min(Max(p.b, kEpsilon), 1);
  if (t.rank() == 0) return c.Error("y_true must have an axis, got ", Describe(Object(t)));
  const Value v = t * Log(t / q);
  return Object(ReduceSum(v, {v.rank() - 1}));
}

// keras.backend's for each element, tf.keras.losses' as the mean of the last axis.
Result CallBinary(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Floats(c));
  STRATA_ASSIGN_OR_RETURN(const bool logits, c.Flag(2));
  STRATA_ASSIGN_OR_RETURN(const double smoothing, c.Real(3, 0));
  const Value t = smoothing == 0 ? p.a : p.a * (1 - smoothing) + smoothing / 2;
  const Value q = Min(Max(p.b, kEpsilon), 1 - kEpsilon);
  const Value v =
      logits ? p.b * (1 - t) + LogisticLoss(p.b) : -(t * Log(q + kEpsilon) + (1 - t) * Log(1 - q + kEpsilon));
  return Object(c.OfBackend() ? v : LastMean(v));
}
Result CallCategorical(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Floats(c));
  if (p.a.rank() == 0 || p.a.shape() != p.b.shape()) {
    return c.Error("y_true and y_pred must have one shape, got ", Describe(Object(p.a)), " and ",
                   Describe(Object(p.b)));
  }
  const int axis = p.b.rank() - 1;
  STRATA_ASSIGN_OR_RETURN(const bool logits, c.Flag(2));
  STRATA_ASSIGN_OR_RETURN(const double smoothing, c.Real(3, 0));
  const Value t = smoothing == 0 ? p.a : p.a * (1 - smoothing) + smoothing / static_cast<double>(p.a.dim(-1));
  const Value log_p =
      logits ? LogSoftmax(p.b, axis) : Log(Min(Max(p.b / ReduceSum(p.b, {axis}, true), kEpsilon), 1 - kEpsilon));
  return Object(-ReduceSum(t * log_p, {axis}));
}
Result CallSparseCategorical(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value p, c.Float(1));
  STRATA_ASSIGN_OR_RETURN(Value label, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const bool logits, c.Flag(2));
  if (p.rank() == 0) return c.Error("y_pred must have an axis, got ", Describe(Object(p)));
  if (label.rank() == p.rank() && label.dim(-1) == 1) label = Squeeze(label, -1);
  Shape want = p.shape();
  want.pop_back();
  if (label.shape() != want) {
    return c.Error("y_true must have shape ", ShapeString(want), ", got ", Describe(Object(label)));
  }
  const Value x = logits ? p : Log(Min(Max(p, kEpsilon), 1 - kEpsilon));
  return Object(-PickLast(LogSoftmax(x, p.rank() - 1), Cast(label, DType::kI32)));
}

// Keras' loss, minus the cosine along the last axis (or `axis`), or PyTorch's similarity.
Result CallCosineSimilarity(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Floats(c));
  if (c.evaluator().pytorch()) return PytorchCosine(c, p);
  if (p.b.rank() == 0) return c.Error("y_pred must have an axis, got ", Describe(Object(p.b)));
  int axis = p.b.rank() - 1;
  if (c.has(2)) {
    STRATA_ASSIGN_OR_RETURN(axis, c.Axis(2, p.b.rank()));
  }
  const auto unit = [axis](Value x) { return x / Sqrt(Max(ReduceSum(Square(x), {axis}, true), 1e-12)); };
  return Object(-ReduceSum(unit(p.a) * unit(p.b), {axis}));
}

constexpr char kPytorch[] = "input|x target|y reduction?";
constexpr char kKeras[] = "y_true|target y_pred|output";
constexpr char kCrossEntropy[] = "y_true|target y_pred|output from_logits? label_smoothing?";

constexpr Function kLossFunctions[] = {
    {"mse_loss", kPytorch, OfDifference<Square>},
    {"l1_loss", kPytorch, OfDifference<Abs>},
    {"smooth_l1_loss", "input|x target|y reduction? beta?", CallSmoothL1},
    {"huber_loss", "input|x target|y reduction? delta?", CallHuberLoss},
    {"binary_cross_entropy", "input|x target|y reduction? weight?", CallBinaryCrossEntropy},
    {"binary_cross_entropy_with_logits", "input|x target|y reduction? weight? pos_weight?",
     CallBinaryCrossEntropyWithLogits},
    {"kl_div", "input|x target|y reduction? log_target?", CallKlDiv},
    {"cross_entropy", kPytorch, CallCrossEntropy},
    {"nll_loss", kPytorch, CallNllLoss},
    {"pairwise_distance", "x1 x2 p? eps? keepdim?", CallPairwiseDistance},
    {"cosine_similarity", "x1|y_true x2|y_pred dim|axis? eps?", CallCosineSimilarity},
    {"mean_squared_error", kKeras, MeanOfLast<SquaredError>},
    {"mse", kKeras, MeanOfLast<SquaredError>},
    {"mean_absolute_error", kKeras, MeanOfLast<AbsoluteError>},
    {"mae", kKeras, MeanOfLast<AbsoluteError>},
    {"mean_absolute_percentage_error", kKeras, MeanOfLast<PercentageError>},
    {"mape", kKeras, MeanOfLast<PercentageError>},
    {"log_cosh", kKeras, MeanOfLast<LogCoshError>},
    {"poisson", kKeras, MeanOfLast<PoissonError>},
    {"huber", "y_true y_pred delta?", CallHuber},
    {"kl_divergence", kKeras, CallKlDivergence},
    {"kld", kKeras, CallKlDivergence},
    {"binary_crossentropy", kCrossEntropy, CallBinary},
    {"categorical_crossentropy", kCrossEntropy, CallCategorical},
    {"sparse_categorical_crossentropy", "y_true|target y_pred|output from_logits?", CallSparseCategorical},
};

}  // namespace

std::span<const Function> LossFunctions() { return kLossFunctions; }

}  // namespace strata::expr
