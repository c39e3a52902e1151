// Operations that move elements and compute nothing.
#include <algorithm>
#include <numeric>

#include "engine/base/status.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata {
namespace {

using Results = absl::StatusOr<std::vector<ValueInfo>>;
using In = std::span<const ValueInfo* const>;
using RefIn = std::span<const RefTensor* const>;
using RefOut = std::span<RefTensor>;
using Grads = std::vector<Value>;

Results InferReshape(const Attrs& attrs, In in) {
  const Shape& shape = std::get<ShapeAttrs>(attrs).shape;
  if (NumElements(shape) != NumElements(in[0]->shape)) {
    return InvalidArgument("shape: must have the elements of ", ShapeString(in[0]->shape), ", got ",
                           ShapeString(shape));
  }
  return std::vector<ValueInfo>{{in[0]->dtype, shape}};
}

Results InferTranspose(const Attrs& attrs, In in) {
  const auto& permutation = std::get<AxesAttrs>(attrs).axes;
  Shape y;
  std::vector<bool> seen(in[0]->shape.size(), false);
  for (int64_t p : permutation) {
    if (p < 0 || p >= static_cast<int64_t>(seen.size()) || seen[p]) return InvalidArgument("transpose: no permutation");
    seen[p] = true;
    y.push_back(in[0]->shape[p]);
  }
  if (y.size() != seen.size()) return InvalidArgument("transpose: no permutation");
  return std::vector<ValueInfo>{{in[0]->dtype, std::move(y)}};
}

Results InferPad(const Attrs& attrs, In in) {
  const auto& at = std::get<PadAttrs>(attrs);
  Shape y = in[0]->shape;
  if (at.lo.size() != y.size() || at.hi.size() != y.size()) return InvalidArgument("pad: one pair for each axis");
  for (size_t i = 0; i < y.size(); ++i) {
    y[i] += at.lo[i] + at.hi[i];
    if (y[i] < 0)
      return InvalidArgument("padding: must leave something of axis ", i, ", got ", at.lo[i], " and ", at.hi[i],
                             " for ", ShapeString(in[0]->shape));
  }
  return std::vector<ValueInfo>{{in[0]->dtype, std::move(y)}};
}

Results InferSlice(const Attrs& attrs, In in) {
  const auto& at = std::get<SliceAttrs>(attrs);
  const Shape& x = in[0]->shape;
  if (at.start.size() != x.size() || at.size.size() != x.size() || at.step.size() != x.size()) {
    return InvalidArgument("slice: one start, size and step for each axis");
  }
  for (size_t i = 0; i < x.size(); ++i) {
    if (at.start[i] < 0 || at.size[i] < 0 || at.step[i] < 1 ||
        (at.size[i] > 0 && at.start[i] + (at.size[i] - 1) * at.step[i] >= x[i])) {
      return InvalidArgument("slice: must stay within axis ", i, " of ", ShapeString(x), ", got start ", at.start[i],
                             " and size ", at.size[i]);
    }
  }
  return std::vector<ValueInfo>{{in[0]->dtype, at.size}};
}

Results InferConcat(const Attrs& attrs, In in) {
  const int64_t axis = std::get<AxesAttrs>(attrs).axes[0];
  Shape y = in[0]->shape;
  if (axis < 0 || axis >= static_cast<int64_t>(y.size())) {
    return InvalidArgument("axis: does not exist in ", ShapeString(y), ", got ", axis);
  }
  for (size_t i = 1; i < in.size(); ++i) {
    Shape s = in[i]->shape;
    if (s.size() != y.size() || in[i]->dtype != in[0]->dtype) {
      return InvalidArgument("concatenate: inputs must fit, got ", ShapeString(in[0]->shape), " and ", ShapeString(s));
    }
    y[axis] += s[axis];
    s[axis] = in[0]->shape[axis];
    if (s != in[0]->shape) {
      return InvalidArgument("concatenate: inputs must be equal outside axis ", axis, ", got ",
                             ShapeString(in[0]->shape), " and ", ShapeString(in[i]->shape));
    }
  }
  return std::vector<ValueInfo>{{in[0]->dtype, std::move(y)}};
}

Results InferBroadcast(const Attrs& attrs, In in) {
  const Shape& shape = std::get<ShapeAttrs>(attrs).shape;
  STRATA_ASSIGN_OR_RETURN(Shape y, BroadcastShape(in[0]->shape, shape));
  if (y != shape)
    return InvalidArgument("shape: must broadcast to ", ShapeString(shape), ", got ", ShapeString(in[0]->shape));
  return std::vector<ValueInfo>{{in[0]->dtype, shape}};
}

Results InferSame(const Attrs&, In in) { return std::vector<ValueInfo>{{in[0]->dtype, in[0]->shape}}; }

void RefReshape(const Attrs&, RefIn in, RefOut out, std::span<const DType>) { out[0].data = in[0]->data; }

void RefTranspose(const Attrs& attrs, RefIn in, RefOut out, std::span<const DType>) {
  const auto& p = std::get<AxesAttrs>(attrs).axes;
  const Shape xs = Strides(in[0]->shape);
  ForEachIndex(out[0].shape, [&](int64_t i, const std::vector<int64_t>& at) {
    int64_t x = 0;
    for (size_t d = 0; d < p.size(); ++d) x += at[d] * xs[p[d]];
    out[0].data[i] = in[0]->data[x];
  });
}

void RefPad(const Attrs& attrs, RefIn in, RefOut out, std::span<const DType>) {
  const auto& a = std::get<PadAttrs>(attrs);
  const Shape xs = Strides(in[0]->shape);
  ForEachIndex(out[0].shape, [&](int64_t i, const std::vector<int64_t>& at) {
    int64_t x = 0;
    for (size_t d = 0; d < at.size(); ++d) {
      const int64_t c = at[d] - a.lo[d];
      if (c < 0 || c >= in[0]->shape[d]) {
        out[0].data[i] = a.value;
        return;
      }
      x += c * xs[d];
    }
    out[0].data[i] = in[0]->data[x];
  });
}

void RefSlice(const Attrs& attrs, RefIn in, RefOut out, std::span<const DType>) {
  const auto& a = std::get<SliceAttrs>(attrs);
  const Shape xs = Strides(in[0]->shape);
  ForEachIndex(out[0].shape, [&](int64_t i, const std::vector<int64_t>& at) {
    int64_t x = 0;
    for (size_t d = 0; d < at.size(); ++d) x += (a.start[d] + at[d] * a.step[d]) * xs[d];
    out[0].data[i] = in[0]->data[x];
  });
}

void RefConcat(const Attrs& attrs, RefIn in, RefOut out, std::span<const DType>) {
  const int64_t axis = std::get<AxesAttrs>(attrs).axes[0];
  const Shape ys = Strides(out[0].shape);
  int64_t offset = 0;
  for (const RefTensor* t : in) {
    ForEachIndex(t->shape, [&](int64_t i, const std::vector<int64_t>& at) {
      int64_t y = offset * ys[axis];
      for (size_t d = 0; d < at.size(); ++d) y += at[d] * ys[d];
      out[0].data[y] = t->data[i];
    });
    offset += t->shape[axis];
  }
}

void RefBroadcast(const Attrs&, RefIn in, RefOut out, std::span<const DType>) {
  const Shape& x = in[0]->shape;
  ForEachIndex(out[0].shape, [&](int64_t i, const std::vector<int64_t>& at) {
    int64_t xi = 0;
    for (size_t d = 0; d < x.size(); ++d) xi = xi * x[d] + (x[d] == 1 ? 0 : at[at.size() - x.size() + d]);
    out[0].data[i] = in[0]->data[xi];
  });
}

void RefReverse(const Attrs& attrs, RefIn in, RefOut out, std::span<const DType>) {
  const auto& axes = std::get<AxesAttrs>(attrs).axes;
  const Shape xs = Strides(in[0]->shape);
  ForEachIndex(out[0].shape, [&](int64_t i, const std::vector<int64_t>& at) {
    int64_t x = 0;
    for (size_t d = 0; d < at.size(); ++d) {
      const bool flip = std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) != axes.end();
      x += (flip ? in[0]->shape[d] - 1 - at[d] : at[d]) * xs[d];
    }
    out[0].data[i] = in[0]->data[x];
  });
}

Value InputOf(Graph* g, NodeId n) { return g->value(g->nodes()[n].inputs[0]); }

Grads VjpReshape(Graph* g, NodeId n, std::span<const Value> dy) { return {Reshape(dy[0], InputOf(g, n).shape())}; }

Grads VjpTranspose(Graph* g, NodeId n, std::span<const Value> dy) {
  const auto& p = g->nodes()[n].as<AxesAttrs>().axes;
  std::vector<int64_t> inverse(p.size());
  for (size_t i = 0; i < p.size(); ++i) inverse[p[i]] = static_cast<int64_t>(i);
  return {Transpose(dy[0], inverse)};
}

Grads VjpPad(Graph* g, NodeId n, std::span<const Value> dy) {
  const PadAttrs at = g->nodes()[n].as<PadAttrs>();
  std::vector<int64_t> lo, hi;
  for (size_t i = 0; i < at.lo.size(); ++i) {
    lo.push_back(-at.lo[i]);
    hi.push_back(-at.hi[i]);
  }
  return {Pad(dy[0], lo, hi)};
}

Grads VjpSlice(Graph* g, NodeId n, std::span<const Value> dy) {
  const SliceAttrs at = g->nodes()[n].as<SliceAttrs>();
  const Shape x = InputOf(g, n).shape();
  Value d = dy[0];
  std::vector<int64_t> lo, hi;
  for (size_t i = 0; i < x.size(); ++i) {
    int64_t covered = at.size[i];
    if (at.step[i] > 1 && covered > 1) {  // spread the rows: [.., n, ..] -> [.., n, step, ..] -> [.., n * step, ..]
      Shape split = d.shape();
      split.insert(split.begin() + static_cast<int64_t>(i) + 1, 1);
      std::vector<int64_t> l(split.size(), 0), h(split.size(), 0);
      h[i + 1] = at.step[i] - 1;
      Shape joined = d.shape();
      joined[i] = covered * at.step[i];
      d = Reshape(Pad(Reshape(d, split), l, h), joined);
      covered = joined[i];
    }
    lo.push_back(at.start[i]);
    hi.push_back(x[i] - at.start[i] - covered);  // may crop what the spreading added at the end
  }
  return {Pad(d, lo, hi)};
}

Grads VjpConcat(Graph* g, NodeId n, std::span<const Value> dy) {
  const int axis = static_cast<int>(g->nodes()[n].as<AxesAttrs>().axes[0]);
  const std::vector<ValueId> inputs = g->nodes()[n].inputs;
  Grads out;
  int64_t offset = 0;
  for (ValueId v : inputs) {
    const int64_t size = g->info(v).shape[axis];
    out.push_back(SliceAxis(dy[0], axis, offset, size));
    offset += size;
  }
  return out;
}

Grads VjpBroadcast(Graph* g, NodeId n, std::span<const Value> dy) { return {SumTo(dy[0], InputOf(g, n).shape())}; }

Grads VjpReverse(Graph* g, NodeId n, std::span<const Value> dy) {
  return {Reverse(dy[0], g->nodes()[n].as<AxesAttrs>().axes)};
}

}  // namespace

std::span<const OpRecord> MovementRecords() {
  static constexpr OpRecord kRecords[] = {
      {Op::kReshape, InferReshape, VjpReshape, RefReshape},
      {Op::kTranspose, InferTranspose, VjpTranspose, RefTranspose},
      {Op::kPad, InferPad, VjpPad, RefPad},
      {Op::kSlice, InferSlice, VjpSlice, RefSlice},
      {Op::kConcat, InferConcat, VjpConcat, RefConcat},
      {Op::kBroadcast, InferBroadcast, VjpBroadcast, RefBroadcast},
      // No composition serves: slices step forward, and a gather moves rows of the first axis only.
      {Op::kReverse, InferSame, VjpReverse, RefReverse},
  };
  return kRecords;
}

Value Reshape(Value x, Shape shape) {
  if (!x || x.shape() == shape) return x;
  int64_t known = 1;
  int wild = -1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1 && wild < 0) {
      wild = static_cast<int>(i);
    } else {
      known *= shape[i];
    }
  }
  if (wild >= 0) {
    if (known <= 0 || x.num_elements() % known != 0) {
      x.graph->Fail(
          InvalidArgument("shape: must have the elements of ", ShapeString(x.shape()), ", got ", ShapeString(shape)));
      return {x.graph, -1};
    }
    shape[wild] = x.num_elements() / known;
  }
  const Value in[] = {x};
  return x.shape() == shape ? x : Emit(x.graph, Op::kReshape, ShapeAttrs{std::move(shape)}, in)[0];
}

Value Transpose(Value x, std::vector<int64_t> permutation) {
  if (!x || std::is_sorted(permutation.begin(), permutation.end())) return x;
  const Value in[] = {x};
  return Emit(x.graph, Op::kTranspose, AxesAttrs{std::move(permutation)}, in)[0];
}

Value SwapAxes(Value x, int a, int b) {
  if (!x) return x;
  std::vector<int64_t> p = AllAxes(x);
  std::swap(p[a < 0 ? a + x.rank() : a], p[b < 0 ? b + x.rank() : b]);
  return Transpose(x, p);
}

Value Pad(Value x, std::vector<int64_t> lo, std::vector<int64_t> hi, double value) {
  const auto zero = [](int64_t v) { return v == 0; };
  if (!x || (std::all_of(lo.begin(), lo.end(), zero) && std::all_of(hi.begin(), hi.end(), zero))) return x;
  const Value in[] = {x};
  return Emit(x.graph, Op::kPad, PadAttrs{std::move(lo), std::move(hi), value}, in)[0];
}

Value Slice(Value x, std::vector<int64_t> start, std::vector<int64_t> size, std::vector<int64_t> step) {
  if (!x) return x;
  if (step.empty()) step.assign(start.size(), 1);
  if (size == x.shape()) return x;
  for (int axis = 0; axis < x.rank(); ++axis) {
    if (size[axis] != 1 || x.dim(axis) == 1) continue;
    if (const Value state = FinalState(x, axis, start[axis])) {
      start[axis] = 0;
      return Slice(state, std::move(start), std::move(size), std::move(step));
    }
  }
  const Value in[] = {x};
  return Emit(x.graph, Op::kSlice, SliceAttrs{std::move(start), std::move(size), std::move(step)}, in)[0];
}

Value SliceAxis(Value x, int axis, int64_t start, int64_t size) {
  if (!x) return x;
  std::vector<int64_t> starts(x.rank(), 0), sizes = x.shape();
  const int a = axis < 0 ? axis + x.rank() : axis;
  starts[a] = start;
  sizes[a] = size;
  return Slice(x, std::move(starts), std::move(sizes));
}

Value Concat(std::span<const Value> xs, int axis) {
  if (xs.size() == 1) return xs[0];
  const int a = axis < 0 && xs[0] ? axis + xs[0].rank() : axis;
  return Emit(xs[0].graph, Op::kConcat, AxesAttrs{{a}}, xs)[0];
}

Value Stack(std::span<const Value> xs, int axis) {
  std::vector<Value> expanded;
  for (const Value& x : xs) expanded.push_back(ExpandDims(x, axis));
  return Concat(expanded, axis);
}

std::vector<Value> Split(Value x, int axis, int64_t parts) {
  std::vector<Value> out;
  const int64_t size = x.dim(axis) / parts;
  for (int64_t i = 0; i < parts; ++i) out.push_back(SliceAxis(x, axis, i * size, size));
  return out;
}

Value Broadcast(Value x, const Shape& shape) {
  if (!x || x.shape() == shape) return x;
  const Value in[] = {x};
  return Emit(x.graph, Op::kBroadcast, ShapeAttrs{shape}, in)[0];
}

Value Reverse(Value x, std::vector<int64_t> axes) {
  if (!x) return x;
  for (int64_t& a : axes) a += a < 0 ? x.rank() : 0;
  const Value in[] = {x};
  return Emit(x.graph, Op::kReverse, AxesAttrs{std::move(axes)}, in)[0];
}

Value ExpandDims(Value x, int axis) {
  if (!x) return x;
  Shape shape = x.shape();
  shape.insert(shape.begin() + (axis < 0 ? axis + x.rank() + 1 : axis), 1);
  return Reshape(x, shape);
}

Value Squeeze(Value x, int axis) {
  if (!x) return x;
  Shape shape = x.shape();
  shape.erase(shape.begin() + (axis < 0 ? axis + x.rank() : axis));
  return Reshape(x, shape);
}

}  // namespace strata
