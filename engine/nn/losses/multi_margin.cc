// PyTorch's hinge between the right and every wrong class. At the kink the gradient is zero.
#include "engine/nn/losses/class_indices.h"
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// sum over wrong classes of w[y] max(0, margin - x_y + x_j)^p / C
LossTerms Build(Scope& s, const v1::MultiMargin& a, const LossArgs& args) {
  const Scores c = ScoresOf(s, args, false);
  if (!s.ok()) return {};
  const int64_t classes = c.x.dim(1);
  const Value w = ClassWeights(s, a.has_weight() ? &a.weight() : nullptr, classes);
  if (!s.ok()) return {};
  const Value right = ExpandDims(PickLast(c.x, c.t), -1);
  const Value wrong = Not(Equal(Iota(s.graph(), c.x.shape(), -1, c.t.dtype()), ExpandDims(c.t, -1)));
  Value terms = Relu(c.x - right + a.margin());
  if (a.p() == 2) terms = Square(terms);
  Value values = ReduceSum(Select(wrong, terms, Like(terms, 0)), {-1}) * (1.0 / static_cast<double>(classes));
  if (w) values = values * PickLast(Broadcast(w, c.x.shape()), c.t);
  return {c.unbatched ? Squeeze(values, 0) : values, {}};
}

}  // namespace

LossComponents MultiMarginLoss() { return Loss<v1::MultiMargin>("multi_margin", &Build); }

}  // namespace strata::nn
