// PyTorch's margin losses, divergences and embeddings' losses. At a margin's kink the gradient is zero.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/losses/loss.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

LossTerms BuildPoissonNll(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const auto& a = loss.poisson_nll();
  const Value x = args.prediction, t = LikePrediction(args);
  Value values = a.log_input() ? Exp(x) - t * x : x - t * Log(x + a.epsilon());
  if (a.full()) {  // Stirling's t ln t - t + ln(2 pi t) / 2 where t > 1
    const Value large = Greater(t, Like(t, 1)), safe = Select(large, t, Like(t, 1));
    values = values + Select(large, safe * Log(safe) - safe + Log(safe * (2 * M_PI)) * 0.5, Like(t, 0));
  }
  return {values, {}};
}

// x where t = 1, max(0, margin - x) where t = -1.
LossTerms BuildHingeEmbedding(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const Value x = args.prediction, t = LikePrediction(args), zero = Like(x, 0);
  const Value far = Relu(loss.hinge_embedding().margin() - x);
  return {Select(Equal(t, Like(t, 1)), zero, far) + Select(Equal(t, Like(t, -1)), zero, x), {}};
}

// t (ln t - x), 0 where t = 0; with logarithms as targets e^t (t - x).
LossTerms BuildKlDiv(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const Value x = args.prediction, t = LikePrediction(args);
  if (loss.kl_div().log_target()) return {Exp(t) * (t - x), {}};
  const Value some = Not(Equal(t, Like(t, 0))), safe = Select(some, t, Like(t, 1));
  return {Select(some, t * Log(safe), Like(t, 0)) - t * x, {}};
}

LossTerms BuildSoftMargin(Scope& s, const v1::Loss&, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  if (*BroadcastShape(args.prediction.value.shape(), args.target.shape()) != args.prediction.value.shape()) {
    s.Fail(absl::StrCat("target|input: target must broadcast to ", ShapeString(args.prediction.value.shape()), ", got ",
                        ShapeString(args.target.shape())));
    return {};
  }
  return {Softplus(-(LikePrediction(args) * args.prediction.value)), {}};
}

// One factor for each class, or empty.
Value ClassWeight(Scope& s, bool has, const v1::Doubles& weight, int64_t classes) {
  if (!has) return {};
  if (weight.values_size() != classes) {
    return s.Fail(
        absl::StrCat("weight: must have one factor for each of the ", classes, " classes, got ", weight.values_size()));
  }
  return Constant(s.graph(), Tensor::Of(DType::kF32, {classes},
                                        std::vector<double>(weight.values().begin(), weight.values().end())));
}

// -mean over classes of w (t ln s(x) + (1 - t) ln s(-x)).
LossTerms BuildMultiLabelSoftMargin(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  const auto& a = loss.multi_label_soft_margin();
  const Value x = args.prediction;
  if (x.rank() < 1) {
    s.Fail("input: must have an axis of classes, got none");
    return {};
  }
  if (!CheckBroadcast(s, args)) return {};
  const Value t = LikePrediction(args);
  Value values = t * Softplus(-x) + (1 - t) * Softplus(x);
  // One factor stands for all classes.
  const bool one = a.weight().values_size() == 1;
  const Value w = ClassWeight(s, a.has_weight(), a.weight(), one ? 1 : values.dim(-1));
  if (!s.ok()) return {};
  if (w) values = values * w;
  // The classes are those of the prediction's last axis, also where the target has more axes.
  return {ReduceSum(values, {x.rank() - 1}) * (1.0 / static_cast<double>(x.dim(-1))), {}};
}

// Scores [N, C] and labels; a single sample comes without a batch axis.
struct Scores {
  Value x, t;
  bool unbatched = false;
};
Scores ScoresOf(Scope& s, const LossArgs& args, bool label_per_class) {
  Scores c{args.prediction, args.target, args.prediction.value.rank() <= 1};
  if (c.x.rank() == 0) {  // a single class
    c.x = ExpandDims(c.x, 0);
    if (label_per_class && c.t.rank() == 0) c.t = ExpandDims(c.t, 0);
  }
  if (c.unbatched) {
    c.x = ExpandDims(c.x, 0);
    // One sample's label may stand in an axis of its own.
    const bool in_axis = !label_per_class && c.t.rank() == 1;
    if (!in_axis) c.t = ExpandDims(c.t, 0);
    c.unbatched = !in_axis;  // the loss has the label's axes
  }
  const Shape want = c.x.rank() != 2 ? Shape{} : label_per_class ? c.x.shape() : Shape{c.x.dim(0)};
  if (IsFloat(c.t.dtype()) || c.t.dtype() == DType::kBool || c.x.rank() != 2 || c.t.shape() != want) {
    s.Fail(absl::StrCat("target|input: needs scores [N, C] and integer labels of ", ShapeString(want), ", got ",
                        ShapeString(args.prediction.value.shape()), " and ", ShapeString(args.target.shape())));
  }
  if (c.t.dtype() != DType::kI64) c.t = Cast(c.t, DType::kI32);
  if (!s.ok() || !c.x || !c.t) return c;
  // Rows of labels end with -1.
  const int64_t classes = c.x.dim(1), first = label_per_class ? -1 : 0;
  s.Require(
      And(GreaterEqual(c.t, Like(c.t, static_cast<double>(first))), Less(c.t, Like(c.t, static_cast<double>(classes)))),
      absl::StrCat("target: classes must be in [", first, ", ", classes, ")"));
  return c;
}

// sum over wrong classes of w[y] max(0, margin - x_y + x_j)^p / C
LossTerms BuildMultiMargin(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  const auto& a = loss.multi_margin();
  const Scores c = ScoresOf(s, args, false);
  if (!s.ok()) return {};
  const int64_t classes = c.x.dim(1);
  const Value w = ClassWeight(s, a.has_weight(), a.weight(), classes);
  if (!s.ok()) return {};
  const Value right = ExpandDims(PickLast(c.x, c.t), -1);
  const Value wrong = Not(Equal(Iota(s.graph(), c.x.shape(), -1, c.t.dtype()), ExpandDims(c.t, -1)));
  Value terms = Relu(c.x - right + a.margin());
  if (a.p() == 2) terms = Square(terms);
  Value values = ReduceSum(Select(wrong, terms, Like(terms, 0)), {-1}) * (1.0 / static_cast<double>(classes));
  if (w) values = values * PickLast(Broadcast(w, c.x.shape()), c.t);
  return {c.unbatched ? Squeeze(values, 0) : values, {}};
}

// sum over right classes j and wrong classes i of max(0, 1 - (x_j - x_i)) / C; the first -1 ends a row of right
// classes.
LossTerms BuildMultiLabelMargin(Scope& s, const v1::Loss&, const LossArgs& args) {
  const Scores c = ScoresOf(s, args, true);
  if (!s.ok()) return {};
  Graph* g = s.graph();
  const int64_t batch = c.x.dim(0), classes = c.x.dim(1);
  const DType f = c.x.dtype();
  // A place counts if no -1 stands at it or before it.
  const Value before =
      Cast(LessEqual(Iota(g, {classes, classes}, 0, DType::kI32), Iota(g, {classes, classes}, 1, DType::kI32)), f);
  const Value ended = MatMul(Cast(Less(c.t, Like(c.t, 0)), f), before);
  const Value counts = Equal(ended, Like(ended, 0));  // [N, places]
  const Shape cube{batch, classes, classes};          // [N, places, classes]
  const Value names =
      And(Equal(Iota(g, cube, 2, c.t.dtype()), ExpandDims(c.t, 2)), Broadcast(ExpandDims(counts, 2), cube));
  const Value is_right = Cast(names, f);
  const Value wrong = Equal(ReduceMax(is_right, {1}), Like(c.x, 0));  // [N, classes]
  const Value right = ReduceSum(Select(names, Broadcast(ExpandDims(c.x, 1), cube), Like(c.x, 0)), {2});
  const Value terms = Relu(ExpandDims(c.x, 1) - ExpandDims(right, 2) + 1);
  const Value pairs = And(Broadcast(ExpandDims(wrong, 1), cube), Broadcast(ExpandDims(counts, 2), cube));
  const Value values = ReduceSum(Select(pairs, terms, Like(terms, 0)), {1, 2}) * (1.0 / static_cast<double>(classes));
  return {c.unbatched ? Squeeze(values, 0) : values, {}};
}

bool NeedsMore(Scope& s, const LossArgs& args, size_t count) {
  if (args.more.size() == count) return true;
  s.Fail(absl::StrCat("more_outputs: the loss needs ", count + 1, " predictions, got ", args.more.size() + 1));
  return false;
}

LossTerms BuildMarginRanking(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  if (!NeedsMore(s, args, 1)) return {};
  const Shape &x = args.prediction.value.shape(), &y = args.more[0].value.shape(), &t = args.target.shape();
  const absl::StatusOr<Shape> both = BroadcastShape(x, y);
  if (x.size() != y.size() || x.size() != t.size() || !both.ok() || !BroadcastShape(*both, t).ok()) {
    s.Fail(absl::StrCat("input1|input2|target: must have as many axes and sizes that fit, got ", ShapeString(x), ", ",
                        ShapeString(y), " and ", ShapeString(t)));
    return {};
  }
  const Value difference = args.prediction.value - args.more[0].value;
  return {Relu(loss.margin_ranking().margin() - LikePrediction(args) * difference), {}};
}

// 1 - cos where y = 1, max(0, cos - margin) where y = -1; cos = x y / sqrt((sum x^2 + 1e-12) (sum y^2 + 1e-12)).
LossTerms BuildCosineEmbedding(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  if (!NeedsMore(s, args, 1)) return {};
  const Value x = args.prediction, y = args.more[0];
  const absl::StatusOr<Shape> both = BroadcastShape(x.shape(), y.shape());
  bool fits = both.ok() && x.rank() == y.rank() && x.rank() >= 1 && x.rank() <= 2 && args.target.rank() == x.rank() - 1;
  if (fits) fits = BroadcastShape(Shape(both->begin(), both->end() - 1), args.target.shape()).ok();
  if (!fits) {
    s.Fail(absl::StrCat("target|input1|input2: needs two [N, D] and targets [N], got ", ShapeString(x.shape()), ", ",
                        ShapeString(y.shape()), " and ", ShapeString(args.target.shape())));
    return {};
  }
  const auto square = [](Value v) { return ReduceSum(Square(v), {-1}) + 1e-12; };
  const Value cos = ReduceSum(x * y, {-1}) / Sqrt(square(x) * square(y)), t = LikePrediction(args), zero = Like(cos, 0);
  const Value same = Select(Equal(t, Like(t, 1)), 1 - cos, zero);
  return {same + Select(Equal(t, Like(t, -1)), Relu(cos - loss.cosine_embedding().margin()), zero), {}};
}

// max(0, d(a, p) - d(a, n) + margin) with d the p-norm of the difference plus epsilon.
LossTerms BuildTripletMargin(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  if (!NeedsMore(s, args, 2)) return {};
  const auto& a = loss.triplet_margin();
  const Value anchor = args.prediction, positive = args.more[0], negative = args.more[1];
  if (anchor.rank() < 1 || positive.rank() != anchor.rank() || negative.rank() != anchor.rank() ||
      !BroadcastShape(anchor.shape(), positive.shape()).ok() ||
      !BroadcastShape(anchor.shape(), negative.shape()).ok()) {
    s.Fail(absl::StrCat("anchor|positive|negative: must have as many axes, got ", ShapeString(anchor.shape()), ", ",
                        ShapeString(positive.shape()), " and ", ShapeString(negative.shape())));
    return {};
  }
  const auto distance = [&](Value x, Value y) {
    const Value d = Abs(x - y + a.epsilon());
    if (std::isinf(a.p())) return ReduceMax(d, {-1});
    if (a.p() == 1) return ReduceSum(d, {-1});
    if (a.p() == 2) return Sqrt(ReduceSum(Square(d), {-1}));
    return Pow(ReduceSum(Pow(d, Like(d, a.p())), {-1}), Like(d, 1 / a.p()));
  };
  Value far = distance(anchor, negative);
  if (a.swap()) far = Min(far, distance(positive, negative));
  return {Relu(distance(anchor, positive) - far + a.margin()), {}};
}

}  // namespace

std::vector<LossComponent> PytorchMarginLosses() {
  return {
      {"poisson_nll", &BuildPoissonNll, [](const v1::Loss& l) { return l.poisson_nll().reduction(); }},
      {"hinge_embedding", &BuildHingeEmbedding, [](const v1::Loss& l) { return l.hinge_embedding().reduction(); }},
      {"kl_div", &BuildKlDiv, [](const v1::Loss& l) { return l.kl_div().reduction(); }},
      {"soft_margin", &BuildSoftMargin, [](const v1::Loss& l) { return l.soft_margin().reduction(); }},
      {"multi_label_soft_margin", &BuildMultiLabelSoftMargin,
       [](const v1::Loss& l) { return l.multi_label_soft_margin().reduction(); }},
      {"multi_margin", &BuildMultiMargin, [](const v1::Loss& l) { return l.multi_margin().reduction(); }},
      {"multi_label_margin", &BuildMultiLabelMargin,
       [](const v1::Loss& l) { return l.multi_label_margin().reduction(); }},
      {"margin_ranking", &BuildMarginRanking, [](const v1::Loss& l) { return l.margin_ranking().reduction(); }},
      {"cosine_embedding", &BuildCosineEmbedding, [](const v1::Loss& l) { return l.cosine_embedding().reduction(); }},
      {"triplet_margin", &BuildTripletMargin, [](const v1::Loss& l) { return l.triplet_margin().reduction(); }},
  };
}

}  // namespace strata::nn
