// Work on the gradient of a max pooling moves to its small side.
#include <algorithm>

#include "engine/passes/rewriter.h"
#include "engine/passes/simplifier.h"

namespace strata {
namespace {

// Whether `v` is select(x <= 0, 0, x).
bool IsReluOf(const Value& v, const Value& x) {
  if (ProducerOf(v).op != Op::kSelect || OperandOf(v, 2) != x || !IsScalar(OperandOf(v, 1), 0)) return false;
  const Value condition = OperandOf(v, 0);
  return ProducerOf(condition).op == Op::kLessEqual && OperandOf(condition, 0) == x &&
         IsScalar(OperandOf(condition, 1), 0);
}

// The gradient of relu after that of the pooling that follows it: cells that are no maximum have no gradient, and the
// maximum of a window is at most 0 exactly if the pooled value is.
Value MaskBeforePooling(Simplifier* s, const Proposal& c) {
  const Value &condition = c.in[0], &gradient = c.in[2];
  if (!IsScalar(c.in[1], 0) || ProducerOf(gradient).op != Op::kMaxPoolGrad || gradient.shape() != c.result.shape)
    return {};
  if (ProducerOf(condition).op != Op::kLessEqual || !IsScalar(OperandOf(condition, 1), 0)) return {};
  const Value dy = OperandOf(gradient, 0), position = OperandOf(gradient, 1), x = OperandOf(condition, 0);
  const Node& pool = ProducerOf(position);
  if (pool.op != Op::kMaxPool || pool.outputs[1] != position.id || x.shape() != c.result.shape) return {};
  const Value pooled = position.graph->value(pool.outputs[0]), input = position.graph->value(pool.inputs[0]);
  if (input != x && !IsReluOf(input, x)) return {};
  const Attrs attrs = ProducerOf(gradient).attrs;  // the graph's nodes move when more are added
  const Value zero = s->Scalar(0, dy.dtype());
  const Value mask = s->Binary(Op::kLessEqual, pooled, s->Scalar(0, pooled.dtype()));
  return s->Make(Op::kMaxPoolGrad, attrs, {s->Make(Op::kSelect, {}, {mask, zero, dy}), position});
}

// The sum over all cells: every window gives its gradient to one of them.
Value SumBeforePooling(Simplifier* s, const Proposal& c) {
  const Value& gradient = c.in[0];
  if (ProducerOf(gradient).op != Op::kMaxPoolGrad || ProducerOf(gradient).as<PoolAttrs>().near_ties) return {};
  const auto& axes = std::get<AxesAttrs>(c.attrs).axes;
  for (int64_t d = 1; d + 1 < gradient.rank(); ++d) {
    if (std::find(axes.begin(), axes.end(), d) == axes.end()) return {};
  }
  for (const auto& axis : ProducerOf(gradient).as<PoolAttrs>().axes) {
    if (std::count(axis.length.begin(), axis.length.end(), 0) > 0) return {};
  }
  return s->Make(Op::kReduceSum, c.attrs, {OperandOf(gradient, 0)});
}

}  // namespace

Value SimplifyPooling(Simplifier* s, const Proposal& c) {
  if (c.op == Op::kSelect) return MaskBeforePooling(s, c);
  if (c.op == Op::kReduceSum) return SumBeforePooling(s, c);
  return {};
}

}  // namespace strata
