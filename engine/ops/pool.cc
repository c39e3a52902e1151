// Window operations over the axes between batch and channels. Windows are tables of start and length per axis, already
// clipped to the input, so that padding, ceil mode, adaptive and fractional windows are all the same operation.
#include <cmath>

#include "engine/base/status.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata {
namespace {

using In = std::span<const ValueInfo* const>;
using RefIn = std::span<const RefTensor* const>;

absl::StatusOr<Shape> OutShape(const PoolAttrs& at, const Shape& x) {
  if (x.size() != at.axes.size() + 2) {
    return InvalidArgument("input: must have rank ", at.axes.size() + 2, ", got ", ShapeString(x));
  }
  Shape y = x;
  for (size_t i = 0; i < at.axes.size(); ++i) {
    const auto& axis = at.axes[i];
    y[1 + i] = static_cast<int64_t>(axis.start.size());
    for (size_t j = 0; j < axis.start.size(); ++j) {
      const int64_t last = axis.start[j] + (axis.length[j] - 1) * axis.dilation;
      if (axis.length[j] < 0 || axis.start[j] < 0 || (axis.length[j] > 0 && last >= x[1 + i])) {
        return absl::InternalError(absl::StrCat("window ", j, " of axis ", i, " leaves the input"));
      }
    }
  }
  return y;
}

absl::StatusOr<std::vector<ValueInfo>> InferMax(const Attrs& attrs, In in) {
  STRATA_ASSIGN_OR_RETURN(Shape y, OutShape(std::get<PoolAttrs>(attrs), in[0]->shape));
  return std::vector<ValueInfo>{{in[0]->dtype, y}, {DType::kI32, y}};
}

absl::StatusOr<std::vector<ValueInfo>> InferSum(const Attrs& attrs, In in) {
  STRATA_ASSIGN_OR_RETURN(Shape y, OutShape(std::get<PoolAttrs>(attrs), in[0]->shape));
  return std::vector<ValueInfo>{{in[0]->dtype, std::move(y)}};
}

absl::StatusOr<std::vector<ValueInfo>> InferPoolGrad(const Attrs& attrs, In in) {
  return std::vector<ValueInfo>{{in[0]->dtype, std::get<PoolAttrs>(attrs).input}};
}

// Visits every (y index, x index, spatial position of x) that meet, windows in row-major order.
template <typename F>
void ForEachCell(const PoolAttrs& at, const Shape& x, const Shape& y, F f) {
  const Shape xs = Strides(x);
  const size_t spatial = at.axes.size();
  ForEachIndex(y, [&](int64_t yi, const std::vector<int64_t>& yat) {
    Shape window(spatial);
    for (size_t d = 0; d < spatial; ++d) window[d] = at.axes[d].length[yat[1 + d]];
    ForEachIndex(window, [&](int64_t, const std::vector<int64_t>& kat) {
      int64_t position = 0;
      for (size_t d = 0; d < spatial; ++d) {
        position = position * x[1 + d] + at.axes[d].start[yat[1 + d]] + kat[d] * at.axes[d].dilation;
      }
      f(yi, yat[0] * xs[0] + position * x.back() + yat.back(), position);
    });
  });
}

void RefMax(const Attrs& attrs, RefIn in, std::span<RefTensor> out, std::span<const DType>) {
  std::vector<bool> seen(out[0].data.size(), false);
  ForEachCell(std::get<PoolAttrs>(attrs), in[0]->shape, out[0].shape, [&](int64_t y, int64_t x, int64_t position) {
    const double v = in[0]->data[x];
    // The first maximum wins; a NaN beats everything.
    if (!seen[y] || v > out[0].data[y] || (v != v && out[0].data[y] == out[0].data[y])) {
      seen[y] = true;
      out[0].data[y] = v;
      out[1].data[y] = static_cast<double>(position);
    }
  });
}

void RefMaxGrad(const Attrs& attrs, RefIn in, std::span<RefTensor> out, std::span<const DType>) {
  const auto& at = std::get<PoolAttrs>(attrs);
  if (at.near_ties) {
    ForEachCell(at, out[0].shape, in[0]->shape, [&](int64_t y, int64_t x, int64_t) {
      if (std::fabs(in[1]->data[x] - in[2]->data[y]) < kNearTie) out[0].data[x] += in[0]->data[y];
    });
    return;
  }
  const Shape& y = in[0]->shape;
  const int64_t channels = y.back(), per_row = NumElements(y) / std::max<int64_t>(y[0], 1);
  const int64_t x_per_row = NumElements(out[0].shape) / std::max<int64_t>(y[0], 1);
  for (size_t i = 0; i < in[0]->data.size(); ++i) {
    const int64_t row = static_cast<int64_t>(i) / per_row, c = static_cast<int64_t>(i) % channels;
    out[0].data[row * x_per_row + static_cast<int64_t>(in[1]->data[i]) * channels + c] += in[0]->data[i];
  }
}

void RefSumPool(const Attrs& attrs, RefIn in, std::span<RefTensor> out, std::span<const DType>) {
  ForEachCell(std::get<PoolAttrs>(attrs), in[0]->shape, out[0].shape,
              [&](int64_t y, int64_t x, int64_t) { out[0].data[y] += in[0]->data[x]; });
}

void RefSumGrad(const Attrs& attrs, RefIn in, std::span<RefTensor> out, std::span<const DType>) {
  ForEachCell(std::get<PoolAttrs>(attrs), out[0].shape, in[0]->shape,
              [&](int64_t y, int64_t x, int64_t) { out[0].data[x] += in[0]->data[y]; });
}

std::vector<Value> VjpMax(Graph* g, NodeId n, std::span<const Value> dy) {
  if (!dy[0]) return {Value{}};
  PoolAttrs at = g->nodes()[n].as<PoolAttrs>();
  const Value x = g->value(g->nodes()[n].inputs[0]);
  at.input = x.shape();
  const Value near[] = {dy[0], x, g->value(g->nodes()[n].outputs[0])};
  const Value first[] = {dy[0], g->value(g->nodes()[n].outputs[1])};
  if (at.near_ties) return {Emit(g, Op::kMaxPoolGrad, std::move(at), near)[0]};
  return {Emit(g, Op::kMaxPoolGrad, std::move(at), first)[0]};
}

std::vector<Value> VjpSumPool(Graph* g, NodeId n, std::span<const Value> dy) {
  PoolAttrs at = g->nodes()[n].as<PoolAttrs>();
  at.input = g->value(g->nodes()[n].inputs[0]).shape();
  const Value in[] = {dy[0]};
  return {Emit(g, Op::kSumPoolGrad, std::move(at), in)[0]};
}

std::vector<Value> VjpSumGrad(Graph* g, NodeId n, std::span<const Value> dy) {
  return {SumPool(dy[0], g->nodes()[n].as<PoolAttrs>())};
}

}  // namespace

std::span<const OpRecord> PoolRecords() {
  static constexpr OpRecord kRecords[] = {
      {Op::kMaxPool, InferMax, VjpMax, RefMax},
      {Op::kMaxPoolGrad, InferPoolGrad, nullptr, RefMaxGrad},
      {Op::kSumPool, InferSum, VjpSumPool, RefSumPool},
      {Op::kSumPoolGrad, InferPoolGrad, VjpSumGrad, RefSumGrad},
  };
  return kRecords;
}

MaxPoolResult MaxPool(Value x, const PoolAttrs& attrs) {
  const Value in[] = {x};
  const std::vector<Value> out = Emit(x.graph, Op::kMaxPool, attrs, in);
  return {out[0], out[1]};
}

Value SumPool(Value x, const PoolAttrs& attrs) {
  const Value in[] = {x};
  return Emit(x.graph, Op::kSumPool, attrs, in)[0];
}

}  // namespace strata
