// Movement of elements: chains join, movement that moves nothing becomes a reshape, broadcasts sink into their readers.
#include <algorithm>
#include <numeric>

#include "engine/base/status.h"
#include "engine/ops/record.h"
#include "engine/passes/rewriter.h"
#include "engine/passes/simplifier.h"

namespace strata {
namespace {

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
  if (n.op == Op::kGather) {  // move the ids, if the rows of the table stay whole
    const Value ids = OperandOf(x, 1);
    const auto rank = static_cast<size_t>(ids.rank());
    for (size_t d = rank; d < p.size(); ++d) {
      if (p[d] != static_cast<int64_t>(d)) return {};
    }
    const Value moved = s->Transpose(ids, std::vector<int64_t>(p.begin(), p.begin() + static_cast<int64_t>(rank)));
    return s->Make(Op::kGather, NoAttrs{}, {OperandOf(x, 0), moved});
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

// The axis along which a zero padding adds cells, if there is exactly one and nothing is cropped; -1 otherwise.
int64_t PaddedAxis(const Value& v) {
  if (ProducerOf(v).op != Op::kPad) return -1;
  const auto& at = ProducerOf(v).as<PadAttrs>();
  int64_t axis = -1;
  for (size_t d = 0; d < at.lo.size(); ++d) {
    if (at.lo[d] == 0 && at.hi[d] == 0) continue;
    if (axis >= 0 || at.lo[d] < 0 || at.hi[d] < 0) return -1;
    axis = static_cast<int64_t>(d);
  }
  return at.value == 0 ? axis : -1;
}

// Paddings of different axes, or outward on both sides, are one.
Value SimplifyPad(Simplifier* s, const Proposal& c) {
  if (ProducerOf(c.in[0]).op != Op::kPad) return {};
  const auto &inner = ProducerOf(c.in[0]).as<PadAttrs>(), &outer = std::get<PadAttrs>(c.attrs);
  PadAttrs both = outer;
  bool adds_inside = false, adds_outside = false;
  for (size_t d = 0; d < both.lo.size(); ++d) {
    const bool inside = inner.lo[d] != 0 || inner.hi[d] != 0, outside = outer.lo[d] != 0 || outer.hi[d] != 0;
    const bool outward = std::min({inner.lo[d], inner.hi[d], outer.lo[d], outer.hi[d]}) >= 0;
    if (inside && outside && !outward) return {};
    adds_inside |= inner.lo[d] > 0 || inner.hi[d] > 0;
    adds_outside |= outer.lo[d] > 0 || outer.hi[d] > 0;
    both.lo[d] += inner.lo[d];
    both.hi[d] += inner.hi[d];
  }
  if (adds_inside && adds_outside && inner.value != outer.value) return {};
  if (adds_inside) both.value = inner.value;
  return s->Make(Op::kPad, both, {OperandOf(c.in[0], 0)});
}

// The gradient of slices that lie side by side is their gradients, side by side.
Value SimplifySumOfPads(Simplifier* s, const Proposal& c) {
  Value a = c.in[0], b = c.in[1];
  const int64_t axis = PaddedAxis(a);
  if (axis < 0 || axis != PaddedAxis(b) || a.shape() != b.shape()) return {};
  if (ProducerOf(a).as<PadAttrs>().lo[axis] > ProducerOf(b).as<PadAttrs>().lo[axis]) std::swap(a, b);
  const PadAttrs first = ProducerOf(a).as<PadAttrs>(), second = ProducerOf(b).as<PadAttrs>();
  if (first.lo[axis] + OperandOf(a, 0).shape()[axis] != second.lo[axis]) return {};
  const Value joined = s->Make(Op::kConcat, AxesAttrs{{axis}}, {OperandOf(a, 0), OperandOf(b, 0)});
  PadAttrs rest = first;
  rest.hi[axis] = second.hi[axis];
  if (rest.lo[axis] == 0 && rest.hi[axis] == 0) return joined;
  return s->Make(Op::kPad, rest, {joined});
}

Value SimplifyConcat(Simplifier* s, const Proposal& c) {
  if (c.in.size() == 1) return c.in[0];
  const AxesAttrs& at = std::get<AxesAttrs>(c.attrs);
  std::vector<Value> flat;
  for (const Value& v : c.in) {
    const Node& n = ProducerOf(v);
    if (n.op != Op::kConcat || n.as<AxesAttrs>().axes != at.axes) {
      flat.push_back(v);
      continue;
    }
    for (size_t i = 0; i < n.inputs.size(); ++i) flat.push_back(OperandOf(v, i));
  }
  return flat.size() == c.in.size() ? Value{} : s->Make(Op::kConcat, at, std::move(flat));
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
      return SimplifyConcat(s, c);
    case Op::kPad:
      return SimplifyPad(s, c);
    case Op::kAdd:
      return SimplifySumOfPads(s, c);
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
