// Convolution (cross-correlation) over any number of spatial axes, channels last, and its two gradients. Padding is
// asymmetric, zero; groups split the channels.
#include "engine/base/status.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata {
namespace {

using In = std::span<const ValueInfo* const>;

// Axis positions of a weight in either layout.
struct WeightAxes {
  size_t in, out, first_spatial;
};
WeightAxes AxesOf(bool weights_oi, size_t rank) {
  return weights_oi ? WeightAxes{1, 0, 2} : WeightAxes{rank - 2, rank - 1, 0};
}

absl::StatusOr<std::vector<ValueInfo>> InferConv(const Attrs& attrs, In in) {
  const auto& at = std::get<ConvAttrs>(attrs);
  const Shape &x = in[0]->shape, &w = in[1]->shape;
  const size_t spatial = at.stride.size();
  if (x.size() != spatial + 2 || w.size() != spatial + 2) {
    return InvalidArgument("input: must have rank ", spatial + 2, ", got ", ShapeString(x));
  }
  const WeightAxes axes = AxesOf(at.weights_oi, w.size());
  if (x.back() != w[axes.in] * at.groups) {
    return InvalidArgument("input: must have ", w[axes.in] * at.groups, " channels, got ", ShapeString(x));
  }
  Shape y{x[0]};
  for (size_t i = 0; i < spatial; ++i) {
    const int64_t reach = at.dilation[i] * (w[axes.first_spatial + i] - 1) + 1;
    const int64_t room = x[1 + i] + at.pad_lo[i] + at.pad_hi[i] - reach;
    if (room < 0) {
      return InvalidArgument("kernel_size: must fit the padded input of ", x[1 + i] + at.pad_lo[i] + at.pad_hi[i],
                             ", got a window of ", reach);
    }
    y.push_back(room / at.stride[i] + 1);
  }
  y.push_back(w[axes.out]);
  return std::vector<ValueInfo>{{in[0]->dtype, std::move(y)}};
}

absl::StatusOr<std::vector<ValueInfo>> InferConvGrad(const Attrs& attrs, In in) {
  return std::vector<ValueInfo>{{in[0]->dtype, std::get<ConvAttrs>(attrs).result}};
}

// Visits every (x element, w element, y element) that meet: f(x index, w index, y index).
template <typename F>
void ForEachTap(const ConvAttrs& at, const Shape& x, const Shape& w, const Shape& y, F f) {
  const size_t spatial = at.stride.size();
  const WeightAxes axes = AxesOf(at.weights_oi, w.size());
  const Shape xs = Strides(x), ws = Strides(w);
  const int64_t in_per_group = w[axes.in], out_per_group = w[axes.out] / at.groups;
  Shape window(w.begin() + axes.first_spatial, w.begin() + axes.first_spatial + spatial);
  ForEachIndex(y, [&](int64_t yi, const std::vector<int64_t>& yat) {
    const int64_t o = yat.back(), group = o / out_per_group;
    ForEachIndex(window, [&](int64_t, const std::vector<int64_t>& kat) {
      int64_t xi = yat[0] * xs[0] + group * in_per_group, wi = o * ws[axes.out];
      for (size_t d = 0; d < spatial; ++d) {
        const int64_t pos = yat[1 + d] * at.stride[d] - at.pad_lo[d] + kat[d] * at.dilation[d];
        if (pos < 0 || pos >= x[1 + d]) return;
        xi += pos * xs[1 + d];
        wi += kat[d] * ws[axes.first_spatial + d];
      }
      for (int64_t c = 0; c < in_per_group; ++c) f(xi + c, wi + c * ws[axes.in], yi);
    });
  });
}

using RefIn = std::span<const RefTensor* const>;
void RefConv(const Attrs& attrs, RefIn in, std::span<RefTensor> out, std::span<const DType>) {
  const auto& at = std::get<ConvAttrs>(attrs);
  ForEachTap(at, in[0]->shape, in[1]->shape, out[0].shape,
             [&](int64_t x, int64_t w, int64_t y) { out[0].data[y] += in[0]->data[x] * in[1]->data[w]; });
  const int64_t channels = out[0].shape.back();
  for (size_t i = 0; i < out[0].data.size(); ++i) {
    double& v = out[0].data[i];
    if (at.bias) v += in[2]->data[i % channels];
    if (at.residual) v += in.back()->data[i];
    if (at.relu) v = v <= 0 ? 0 : v;
  }
}

void RefGradInput(const Attrs& attrs, RefIn in, std::span<RefTensor> out, std::span<const DType>) {
  ForEachTap(std::get<ConvAttrs>(attrs), out[0].shape, in[1]->shape, in[0]->shape,
             [&](int64_t x, int64_t w, int64_t y) { out[0].data[x] += in[0]->data[y] * in[1]->data[w]; });
}

void RefGradWeight(const Attrs& attrs, RefIn in, std::span<RefTensor> out, std::span<const DType>) {
  ForEachTap(std::get<ConvAttrs>(attrs), in[0]->shape, out[0].shape, in[1]->shape,
             [&](int64_t x, int64_t w, int64_t y) { out[0].data[w] += in[0]->data[x] * in[1]->data[y]; });
}

Value GradInput(Value dy, Value w, ConvAttrs at, const Shape& x) {
  at.result = x;
  const Value in[] = {dy, w};
  return Emit(dy.graph, Op::kConvGradInput, std::move(at), in)[0];
}

Value GradWeight(Value x, Value dy, ConvAttrs at, const Shape& w) {
  at.result = w;
  const Value in[] = {x, dy};
  return Emit(x.graph, Op::kConvGradWeight, std::move(at), in)[0];
}

std::vector<Value> VjpConv(Graph* g, NodeId n, std::span<const Value> dy) {
  const ConvAttrs at = g->nodes()[n].as<ConvAttrs>();
  const Value x = g->value(g->nodes()[n].inputs[0]), w = g->value(g->nodes()[n].inputs[1]);
  return {GradInput(dy[0], w, at, x.shape()), GradWeight(x, dy[0], at, w.shape())};
}

// dx = GradInput(dy, w): linear in both, so its gradients are a convolution and a weight gradient.
std::vector<Value> VjpGradInput(Graph* g, NodeId n, std::span<const Value> cotangent) {
  const ConvAttrs at = g->nodes()[n].as<ConvAttrs>();
  const Value dy = g->value(g->nodes()[n].inputs[0]), w = g->value(g->nodes()[n].inputs[1]);
  return {Conv(cotangent[0], w, at), GradWeight(cotangent[0], dy, at, w.shape())};
}

std::vector<Value> VjpGradWeight(Graph* g, NodeId n, std::span<const Value> cotangent) {
  const ConvAttrs at = g->nodes()[n].as<ConvAttrs>();
  const Value x = g->value(g->nodes()[n].inputs[0]), dy = g->value(g->nodes()[n].inputs[1]);
  return {GradInput(dy, cotangent[0], at, x.shape()), Conv(x, cotangent[0], at)};
}

}  // namespace

std::span<const OpRecord> ConvRecords() {
  static constexpr OpRecord kRecords[] = {
      {Op::kConv, InferConv, VjpConv, RefConv},
      {Op::kConvGradInput, InferConvGrad, VjpGradInput, RefGradInput},
      {Op::kConvGradWeight, InferConvGrad, VjpGradWeight, RefGradWeight},
  };
  return kRecords;
}

Value Conv(Value x, Value w, const ConvAttrs& attrs) {
  const Value in[] = {x, w};
  return Emit(x.graph, Op::kConv, attrs, in)[0];
}

}  // namespace strata
