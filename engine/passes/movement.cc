// Movement of elements: chains join, movement that moves nothing becomes a reshape, broadcasts sink into their readers.
#include <algorithm>
#include <numeric>

#include "engine/base/status.h"
#include "engine/ops/record.h"
#include "engine/passes/rewriter.h"
#include "engine/passes/simplifier.h"

namespace strata {
namespace {

const Node& ProducerOf(const Value& v) { return v.graph->producer(v.id); }
Value OperandOf(const Value& v, size_t i) { return v.graph->value(ProducerOf(v).inputs[i]); }

// Whether a permutation keeps the order of all axes longer than one: then it moves nothing.
bool MovesNothing(const Shape& x, const std::vector<int64_t>& permutation) {
  int64_t last = -1;
  for (const int64_t axis : permutation) {
    if (x[axis] == 1) continue;
    if (axis < last) return false;
    last = axis;
  }
  return true;
}

Value SimplifyTranspose(Simplifier* s, const Proposal& c) {
  const auto& p = std::get<AxesAttrs>(c.attrs).axes;
  const Value x = c.in[0];
  if (std::is_sorted(p.begin(), p.end())) return x;
  if (MovesNothing(x.shape(), p)) return s->Reshape(x, c.result.shape);
  const Node& n = ProducerOf(x);
  if (n.op == Op::kTranspose) {
    const std::vector<int64_t> first = n.as<AxesAttrs>().axes;
    std::vector<int64_t> joined;
    for (const int64_t axis : p) joined.push_back(first[axis]);
    return s->Transpose(OperandOf(x, 0), joined);
  }
  if (n.op == Op::kBroadcast) {  // move the smaller value
    Value small = OperandOf(x, 0);
    Shape full(x.shape().size() - small.shape().size(), 1);
    full.insert(full.end(), small.shape().begin(), small.shape().end());
    return s->Broadcast(s->Transpose(s->Reshape(small, full), p), c.result.shape);
  }
  return {};
}

Value SimplifyReshape(Simplifier* s, const Proposal& c) {
  const Value x = c.in[0];
  if (x.shape() == c.result.shape) return x;
  if (ProducerOf(x).op == Op::kReshape) return s->Reshape(OperandOf(x, 0), c.result.shape);
  // A reshape of a broadcast scalar is a broadcast of the scalar.
  if (ProducerOf(x).op == Op::kBroadcast && OperandOf(x, 0).num_elements() == 1) {
    return s->Broadcast(s->Reshape(OperandOf(x, 0), {}), c.result.shape);
  }
  return {};
}

Value SimplifyReduce(Simplifier* s, const Proposal& c) {
  const std::vector<int64_t>& axes = std::get<AxesAttrs>(c.attrs).axes;
  const Value x = c.in[0];
  if (std::all_of(axes.begin(), axes.end(), [&](int64_t a) { return x.shape()[a] == 1; }))
    return s->Reshape(x, c.result.shape);
  if (c.op != Op::kReduceSum || ProducerOf(x).op != Op::kBroadcast || !IsFloat(x.dtype())) return {};
  // The sum of equal terms is a product.
  Value small = OperandOf(x, 0);
  Shape full(x.shape().size() - small.shape().size(), 1);
  full.insert(full.end(), small.shape().begin(), small.shape().end());
  double count = 1;
  std::vector<int64_t> rest;
  for (const int64_t a : axes) {
    if (full[a] == 1) {
      count *= static_cast<double>(x.shape()[a]);
    } else {
      rest.push_back(a);
    }
  }
  if (rest.size() == axes.size() || count == 0) return {};
  small = s->Reshape(small, full);
  if (!rest.empty()) {
    Shape kept = full;
    for (const int64_t a : rest) kept[a] = 1;
    small = s->Reshape(s->Make(Op::kReduceSum, AxesAttrs{rest}, {small}), kept);
  }
  Shape dropped;
  for (size_t d = 0; d < full.size(); ++d) {
    if (std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) == axes.end()) dropped.push_back(small.shape()[d]);
  }
  const Value scaled = s->Binary(Op::kMul, s->Reshape(small, dropped), s->Scalar(count, x.dtype()));
  return s->Broadcast(scaled, c.result.shape);
}

}  // namespace

Value SimplifyMovement(Simplifier* s, const Proposal& c) {
  switch (c.op) {
    case Op::kTranspose:
      return SimplifyTranspose(s, c);
    case Op::kReshape:
      return SimplifyReshape(s, c);
    case Op::kReduceSum:
    case Op::kReduceMax:
    case Op::kReduceMin:
      return SimplifyReduce(s, c);
    case Op::kBroadcast:
      if (ProducerOf(c.in[0]).op == Op::kBroadcast) return s->Broadcast(OperandOf(c.in[0], 0), c.result.shape);
      return c.in[0].num_elements() == NumElements(c.result.shape) ? s->Reshape(c.in[0], c.result.shape) : Value{};
    case Op::kConcat:
      return c.in.size() == 1 ? c.in[0] : Value{};
    case Op::kReverse: {
      const auto& axes = std::get<AxesAttrs>(c.attrs).axes;
      const bool nothing = std::all_of(axes.begin(), axes.end(), [&](int64_t a) { return c.in[0].shape()[a] == 1; });
      return nothing ? c.in[0] : Value{};
    }
    default:
      return {};
  }
}

// Elementwise ops read the small value behind a broadcast; an op all of whose operands are broadcast runs on the small
// values.
Value SimplifyBroadcast(Simplifier* s, const Proposal& c) {
  if (!IsElementwise(c.op)) return {};
  bool any = false;
  Shape small_shape;
  std::vector<Value> small;
  for (const Value& v : c.in) {
    const bool broadcast = ProducerOf(v).op == Op::kBroadcast;
    any |= broadcast;
    small.push_back(broadcast ? OperandOf(v, 0) : v);
    absl::StatusOr<Shape> joined = BroadcastShape(small_shape, small.back().shape());
    if (!joined.ok()) return {};
    small_shape = *std::move(joined);
  }
  if (!any) return {};
  const Value y = s->Make(c.op, c.attrs, small);
  return s->Broadcast(y, c.result.shape);
}

}  // namespace strata
