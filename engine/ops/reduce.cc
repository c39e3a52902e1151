// Reductions and the softmax family.
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/status.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata {
namespace {

using In = std::span<const ValueInfo* const>;
using RefIn = std::span<const RefTensor* const>;

absl::StatusOr<std::vector<ValueInfo>> InferReduce(const Attrs& attrs, In in) {
  const auto& axes = std::get<AxesAttrs>(attrs).axes;
  Shape y;
  for (size_t i = 0; i < in[0]->shape.size(); ++i) {
    if (std::find(axes.begin(), axes.end(), static_cast<int64_t>(i)) == axes.end()) y.push_back(in[0]->shape[i]);
  }
  if (y.size() + axes.size() != in[0]->shape.size())
    return InvalidArgument("axis: must name different axes of ", ShapeString(in[0]->shape), ", got ",
                           ShapeString(axes));
  return std::vector<ValueInfo>{{in[0]->dtype, std::move(y)}};
}

absl::StatusOr<std::vector<ValueInfo>> InferArgMax(const Attrs& attrs, In in) {
  STRATA_ASSIGN_OR_RETURN(std::vector<ValueInfo> r, InferReduce(attrs, in));
  r[0].dtype = DType::kI32;
  return r;
}

absl::StatusOr<std::vector<ValueInfo>> InferSoftmax(const Attrs&, In in) {
  if (in[0]->shape.empty()) return InvalidArgument("softmax: must have an axis, got []");
  return std::vector<ValueInfo>{{in[0]->dtype, in[0]->shape}};
}

// f(result index, input index), inputs in row-major order.
template <typename F>
void ForEachReduced(const std::vector<int64_t>& axes, const Shape& x, const Shape& y, F f) {
  const Shape ys = Strides(y);
  Shape step(x.size(), 0);
  size_t kept = 0;
  for (size_t d = 0; d < x.size(); ++d) {
    if (std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) == axes.end()) step[d] = ys[kept++];
  }
  ForEachIndex(x, [&](int64_t xi, const std::vector<int64_t>& at) {
    int64_t yi = 0;
    for (size_t d = 0; d < x.size(); ++d) yi += at[d] * step[d];
    f(yi, xi);
  });
}

void RefSum(const Attrs& attrs, RefIn in, std::span<RefTensor> out, std::span<const DType>) {
  ForEachReduced(std::get<AxesAttrs>(attrs).axes, in[0]->shape, out[0].shape,
                 [&](int64_t y, int64_t x) { out[0].data[y] += in[0]->data[x]; });
}

template <bool kMax>
void RefExtremum(const Attrs& attrs, RefIn in, std::span<RefTensor> out, std::span<const DType>) {
  const double inf = std::numeric_limits<double>::infinity();
  std::fill(out[0].data.begin(), out[0].data.end(), kMax ? -inf : inf);
  ForEachReduced(std::get<AxesAttrs>(attrs).axes, in[0]->shape, out[0].shape, [&](int64_t y, int64_t x) {
    const double v = in[0]->data[x];
    double& best = out[0].data[y];
    if (v != v || (kMax ? v > best : v < best)) best = v;
  });
}

void RefArgMax(const Attrs& attrs, RefIn in, std::span<RefTensor> out, std::span<const DType>) {
  const auto& axes = std::get<AxesAttrs>(attrs).axes;
  std::vector<double> best(out[0].data.size());
  std::vector<int64_t> count(out[0].data.size(), 0);
  ForEachReduced(axes, in[0]->shape, out[0].shape, [&](int64_t y, int64_t x) {
    const double v = in[0]->data[x];
    if (count[y] == 0 || v > best[y] || (v != v && best[y] == best[y])) {
      best[y] = v;
      out[0].data[y] = static_cast<double>(count[y]);
    }
    ++count[y];
  });
}

template <bool kLog>
void RefSoftmax(const Attrs&, RefIn in, std::span<RefTensor> out, std::span<const DType>) {
  const int64_t n = in[0]->shape.back();
  for (size_t base = 0; n > 0 && base < in[0]->data.size(); base += n) {
    const double* x = in[0]->data.data() + base;
    double* y = out[0].data.data() + base;
    double max = x[0], sum = 0;
    for (int64_t i = 1; i < n; ++i) max = std::max(max, x[i]);
    for (int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - max);
    for (int64_t i = 0; i < n; ++i) y[i] = kLog ? x[i] - max - std::log(sum) : std::exp(x[i] - max) / sum;
  }
}

// y with size-1 axes where x was reduced, so that it broadcasts against x.
Value KeepDims(Value y, const Shape& x, const std::vector<int64_t>& axes) {
  Shape shape = x;
  for (int64_t a : axes) shape[a] = 1;
  return Reshape(y, shape);
}

std::vector<Value> VjpSum(Graph* g, NodeId n, std::span<const Value> dy) {
  const std::vector<int64_t> axes = g->nodes()[n].as<AxesAttrs>().axes;
  const Shape x = g->value(g->nodes()[n].inputs[0]).shape();
  return {Broadcast(KeepDims(dy[0], x, axes), x)};
}

std::vector<Value> VjpReduceExtremum(Graph* g, NodeId n, std::span<const Value> dy) {
  const std::vector<int64_t> axes = g->nodes()[n].as<AxesAttrs>().axes;
  const Value x = g->value(g->nodes()[n].inputs[0]), y = g->value(g->nodes()[n].outputs[0]);
  const Value hit = Equal(x, KeepDims(y, x.shape(), axes));
  const Value count = ReduceSum(Cast(hit, x.dtype()), axes, true);
  return {Select(hit, KeepDims(dy[0], x.shape(), axes) / count, Like(x, 0))};
}

std::vector<Value> VjpSoftmax(Graph* g, NodeId n, std::span<const Value> dy) {
  const Value y = g->value(g->nodes()[n].outputs[0]);
  return {y * (dy[0] - ReduceSum(dy[0] * y, {-1}, true))};
}

std::vector<Value> VjpLogSoftmax(Graph* g, NodeId n, std::span<const Value> dy) {
  const Value y = g->value(g->nodes()[n].outputs[0]);
  return {dy[0] - Exp(y) * ReduceSum(dy[0], {-1}, true)};
}

Value Reduce(Op op, Value x, std::vector<int64_t> axes, bool keepdims) {
  if (!x) return x;
  for (int64_t& a : axes) a += a < 0 ? x.rank() : 0;
  std::sort(axes.begin(), axes.end());
  const Value in[] = {x};
  const Value y = axes.empty() ? x : Emit(x.graph, op, AxesAttrs{axes}, in)[0];
  return keepdims && y ? KeepDims(y, x.shape(), axes) : y;
}

// Runs an op that works on the last axis along any axis.
Value OnLastAxis(Op op, Value x, int axis) {
  if (!x) return x;
  if (axis < 0) axis += x.rank();
  if (axis < 0 || axis >= x.rank()) {
    x.graph->Fail(InvalidArgument("axis: does not exist in ", ShapeString(x.shape()), ", got ", axis));
    return {x.graph, -1};
  }
  if (axis == x.rank() - 1) return Unary(op, x);
  return SwapAxes(Unary(op, SwapAxes(x, axis, -1)), axis, -1);
}

}  // namespace

std::span<const OpRecord> ReduceRecords() {
  static constexpr OpRecord kRecords[] = {
      {Op::kReduceSum, InferReduce, VjpSum, RefSum},
      {Op::kReduceMax, InferReduce, VjpReduceExtremum, RefExtremum<true>},
      {Op::kReduceMin, InferReduce, VjpReduceExtremum, RefExtremum<false>},
      {Op::kArgMax, InferArgMax, nullptr, RefArgMax},
      {Op::kSoftmax, InferSoftmax, VjpSoftmax, RefSoftmax<false>},
      {Op::kLogSoftmax, InferSoftmax, VjpLogSoftmax, RefSoftmax<true>},
  };
  return kRecords;
}

std::vector<int64_t> AllAxes(Value x) {
  std::vector<int64_t> axes(x.rank());
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
  return axes;
}

Value ReduceSum(Value x, std::vector<int64_t> axes, bool keepdims) { return Reduce(Op::kReduceSum, x, axes, keepdims); }
Value ReduceMax(Value x, std::vector<int64_t> axes, bool keepdims) { return Reduce(Op::kReduceMax, x, axes, keepdims); }
Value ReduceMin(Value x, std::vector<int64_t> axes, bool keepdims) { return Reduce(Op::kReduceMin, x, axes, keepdims); }

Value ReduceMean(Value x, std::vector<int64_t> axes, bool keepdims) {
  if (!x) return x;
  int64_t count = 1;
  for (int64_t a : axes) count *= x.dim(static_cast<int>(a));
  const Value sum = ReduceSum(x, std::move(axes), keepdims);
  // TensorFlow's mean of integers is an integer, rounded towards zero.
  if (!IsFloat(x.dtype())) return count == 0 ? sum : sum / static_cast<double>(count);
  return sum * (1.0 / static_cast<double>(count));
}

Value SumAll(Value x) { return ReduceSum(x, AllAxes(x)); }
Value MeanAll(Value x) { return ReduceMean(x, AllAxes(x)); }

Value ArgMax(Value x, int axis) {
  if (!x) return x;
  const Value in[] = {x};
  return Emit(x.graph, Op::kArgMax, AxesAttrs{{axis < 0 ? axis + x.rank() : axis}}, in)[0];
}

Value Softmax(Value x, int axis) { return OnLastAxis(Op::kSoftmax, x, axis); }
Value LogSoftmax(Value x, int axis) { return OnLastAxis(Op::kLogSoftmax, x, axis); }

Value LogSumExp(Value x, int axis, bool keepdims) {
  const Value max = ReduceMax(x, {axis}, true);
  const Value sum = Log(ReduceSum(Exp(x - max), {axis}, true)) + max;
  return keepdims ? sum : Squeeze(sum, axis);
}

}  // namespace strata
