#include "engine/nn/losses/class_indices.h"

#include "absl/strings/str_cat.h"
#include "engine/ops/ops.h"

namespace strata::nn {

Value ClassWeights(Scope& s, const v1::Doubles* weight, int64_t classes) {
  if (weight == nullptr) return {};
  if (weight->values_size() != classes) {
    return s.Fail(absl::StrCat("weight: must have one factor for each of the ", classes, " classes, got ",
                               weight->values_size()));
  }
  return Constant(s.graph(), Tensor::Of(DType::kF32, {classes},
                                        std::vector<double>(weight->values().begin(), weight->values().end())));
}

Value ClassesLast(Value x) {
  if (!x || x.rank() < 3) return x;
  std::vector<int64_t> p{0};
  for (int i = 2; i < x.rank(); ++i) p.push_back(i);
  p.push_back(1);
  return Transpose(x, p);
}

LossTerms OfIndices(Scope& s, const ClassOptions& o, Value log_p, Value target) {
  const int64_t classes = log_p.dim(-1);
  Shape want = log_p.shape();
  want.pop_back();
  if (target.shape() != want) {
    s.Fail(absl::StrCat("target: must have shape ", ShapeString(want), ", got ", ShapeString(target.shape())));
    return {};
  }
  const Value weights = ClassWeights(s, o.weight, classes);
  if (!s.ok()) return {};
  const Value valid = Not(Equal(target, Like(target, static_cast<double>(o.ignore_index))));
  const Value in_range =
      And(GreaterEqual(target, Like(target, 0)), Less(target, Like(target, static_cast<double>(classes))));
  s.Require(Or(in_range, Not(valid)), absl::StrCat("target: classes must be in [0, ", classes, ")"));
  const Value zero = Like(log_p, 0);
  Value w = Select(valid, Like(log_p, 1), Like(log_p, 0));
  if (weights) w = Select(valid, PickLast(Broadcast(weights, log_p.shape()), target), zero);
  // An ignored target may be no class at all: nothing is picked there.
  const Value picked = Select(valid, -PickLast(log_p, target), zero);
  Value values = weights ? picked * w : picked;
  if (o.smoothing > 0) {
    const Value spread = ReduceSum(weights ? log_p * weights : log_p, {-1});
    values = values * (1 - o.smoothing) + Select(valid, -spread, zero) * (o.smoothing / static_cast<double>(classes));
  }
  return {values, SumAll(Broadcast(w, values.shape()))};
}

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

}  // namespace strata::nn
