// PyTorch's loss of three embeddings. At the margin's kink the gradient is zero.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

// max(0, d(a, p) - d(a, n) + margin) with d the p-norm of the difference plus epsilon.
LossTerms Build(Scope& s, const v1::TripletMargin& a, const LossArgs& args) {
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
    if (a.p() == 0) return ReduceSum(Cast(Not(Equal(d, Like(d, 0))), d.dtype()), {-1});
    if (a.p() == 1) return ReduceSum(d, {-1});
    if (a.p() == 2) return Sqrt(ReduceSum(Square(d), {-1}));
    return Pow(ReduceSum(Pow(d, Like(d, a.p())), {-1}), Like(d, 1 / a.p()));
  };
  Value far = distance(anchor, negative);
  if (a.swap()) {  // equal distances share the gradient
    const Value both[] = {ExpandDims(far, 0), ExpandDims(distance(positive, negative), 0)};
    far = ReduceMin(Concat(both, 0), {0});
  }
  return {Relu(distance(anchor, positive) - far + a.margin()), {}};
}

}  // namespace

LossComponents TripletMarginLoss() {
  return Loss<v1::TripletMargin>("triplet_margin", &Build).Takes(kNumbersAsFloats).Compares(2).WithoutTarget();
}

}  // namespace strata::nn
