// PyTorch's hinge between every right and every wrong class. At the kink the gradient is zero.
#include "engine/nn/losses/class_indices.h"
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// sum over right classes j and wrong classes i of max(0, 1 - (x_j - x_i)) / C; the first -1 ends a row of right
// classes.
LossTerms Build(Scope& s, const v1::MultiLabelMargin&, const LossArgs& args) {
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

}  // namespace

LossComponents MultiLabelMarginLoss() { return Loss<v1::MultiLabelMargin>("multi_label_margin", &Build); }

}  // namespace strata::nn
