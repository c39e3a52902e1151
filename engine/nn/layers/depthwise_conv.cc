// Keras' depthwise and separable convolutions: convolutions in as many groups as there are channels.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/activations.h"
#include "engine/nn/layers/spatial.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// What both have: window, strides, padding; fails if they do not fit.
template <typename M>
ConvAttrs AttrsOf(Scope& s, const M& a, Value x, int axes, std::vector<int64_t>* kernel) {
  ConvAttrs at;
  const std::vector<int64_t> ones(axes, 1);
  *kernel = PerAxis(s, "kernel_size", a.kernel_size(), axes, ones);
  at.stride = PerAxis(s, "strides", a.stride(), axes, ones);
  at.dilation = PerAxis(s, "dilation_rate", a.dilation(), axes, ones);
  at.groups = x.dim(-1);
  at.pad_lo = at.pad_hi = std::vector<int64_t>(axes, 0);
  if (NumElements(at.stride) != 1 && NumElements(at.dilation) != 1)
    s.Fail(absl::StrCat("strides|dilation_rate: at most one may differ from 1, got ", ShapeString(at.stride), " and ",
                        ShapeString(at.dilation)));
  if (a.padding().kind_case() == v1::Padding::kSize) s.Fail("padding: must be VALID or SAME, got numbers");
  for (int i = 0; i < axes; ++i) {
    const int64_t reach = at.dilation[i] * ((*kernel)[i] - 1) + 1;
    if (a.padding().mode() == v1::Padding::SAME)
      SamePadding(x.dim(i + 1), reach, at.stride[i], &at.pad_lo[i], &at.pad_hi[i]);
    if (a.padding().mode() == v1::Padding::CAUSAL) {
      if (axes != 1) s.Fail(absl::StrCat("padding: must be VALID or SAME with ", axes, " spatial axes, got CAUSAL"));
      at.pad_lo[i] = reach - 1;
    }
  }
  return at;
}

// The convolution with a depthwise kernel [K..., C, M] as one in C groups: output channel c * M + m.
template <typename M>
Value Depthwise(Scope& s, const M& a, Value x, int axes) {
  std::vector<int64_t> kernel;
  const ConvAttrs at = AttrsOf(s, a, x, axes, &kernel);
  if (!s.ok()) return {s.graph(), -1};
  Shape shape(kernel.begin(), kernel.end()), grouped = shape;
  shape.push_back(x.dim(-1));
  shape.push_back(a.depth_multiplier());
  grouped.push_back(1);
  grouped.push_back(x.dim(-1) * a.depth_multiplier());
  const Value w = s.Param("depthwise_kernel", shape,
                          {.initializer = a.depthwise_initializer(),
                           .regularizer = a.has_depthwise_regularizer() ? &a.depthwise_regularizer() : nullptr,
                           .constraint = a.has_depthwise_constraint() ? &a.depthwise_constraint() : nullptr});
  return Conv(x, Reshape(w, grouped), at);
}

template <typename M>
Outputs Finish(Scope& s, const M& a, Value y) {
  if (a.use_bias()) {
    y = y + s.Param("bias", {y.dim(-1)},
                    {.initializer = a.bias_initializer(),
                     .regularizer = a.has_bias_regularizer() ? &a.bias_regularizer() : nullptr,
                     .constraint = a.has_bias_constraint() ? &a.bias_constraint() : nullptr});
  }
  if (a.data_format() == v1::CHANNELS_FIRST) y = ToChannelsFirst(y);
  Annotated out = Activate(s, a.activation(), y);
  return {out};
}

template <typename M>
Value Enter(Scope& s, const M& a, Value x, int axes) {
  if (x.rank() != axes + 2)
    return s.Fail(absl::StrCat("input: must have ", axes + 2, " axes, got ", ShapeString(x.shape())));
  return a.data_format() == v1::CHANNELS_FIRST ? ToChannelsLast(x) : x;
}

template <int kAxes>
Outputs BuildDepthwise(Scope& s, const v1::DepthwiseConv& a, const Args& args) {
  const Value x = Enter(s, a, args[0], kAxes);
  if (!x) return {x};
  const Value y = Depthwise(s, a, x, kAxes);
  return y ? Finish(s, a, y) : Outputs{y};
}

template <int kAxes>
Outputs BuildSeparable(Scope& s, const v1::SeparableConv& a, const Args& args) {
  const Value x = Enter(s, a, args[0], kAxes);
  if (!x) return {x};
  const Value y = Depthwise(s, a, x, kAxes);
  if (!y) return {y};
  Shape shape(kAxes, 1);
  shape.push_back(y.dim(-1));
  shape.push_back(a.filters());
  const Value w = s.Param("pointwise_kernel", shape,
                          {.initializer = a.pointwise_initializer(),
                           .regularizer = a.has_pointwise_regularizer() ? &a.pointwise_regularizer() : nullptr,
                           .constraint = a.has_pointwise_constraint() ? &a.pointwise_constraint() : nullptr});
  return Finish(s, a, MatMul(y, Reshape(w, {y.dim(-1), a.filters()})));
}

}  // namespace

std::vector<Component> DepthwiseConvLayers() {
  const std::string shapes = "x[N, spatial..., C] -> y[N, spatial'..., F]";
  std::vector<Component> list;
  list.push_back(
      Layer<v1::SeparableConv>("separable_conv1d", &BuildSeparable<1>)
          .Shapes(shapes)
          .With({"filters: 3 kernel_size: 2", {{2, 5, 2}}, v1::KERAS})
          .With({"filters: 1 kernel_size: 3 padding { mode: CAUSAL } depth_multiplier: 2", {{1, 4, 3}}, v1::KERAS})
          .With({"filters: 2 kernel_size: 2 stride: 2 use_bias: false", {{3, 5, 1}}, v1::KERAS}));
  list.push_back(
      Layer<v1::SeparableConv>("separable_conv2d", &BuildSeparable<2>)
          .Shapes(shapes)
          .With({"filters: 3 kernel_size: 2", {{2, 4, 5, 2}}, v1::KERAS})
          .With({"filters: 2 kernel_size: [3, 2] padding { mode: SAME } stride: 2 depth_multiplier: 2",
                 {{1, 5, 4, 3}},
                 v1::KERAS})
          .With({"filters: 2 kernel_size: 2 data_format: CHANNELS_FIRST dilation: 2", {{2, 3, 5, 4}}, v1::KERAS}));
  list.push_back(Layer<v1::DepthwiseConv>("depthwise_conv1d", &BuildDepthwise<1>)
                     .Shapes(shapes)
                     .With({"kernel_size: 2", {{2, 5, 2}}, v1::KERAS})
                     .With({"kernel_size: 3 padding { mode: SAME } depth_multiplier: 2", {{1, 4, 3}}, v1::KERAS})
                     .With({"kernel_size: 1 use_bias: false", {{3, 2, 1}}, v1::KERAS}));
  list.push_back(
      Layer<v1::DepthwiseConv>("depthwise_conv2d", &BuildDepthwise<2>)
          .Shapes(shapes)
          .With({"kernel_size: 2", {{2, 4, 5, 2}}, v1::KERAS})
          .With({"kernel_size: [3, 2] padding { mode: SAME } stride: 2 depth_multiplier: 3", {{1, 5, 4, 3}}, v1::KERAS})
          .With({"kernel_size: 2 data_format: CHANNELS_FIRST", {{2, 3, 3, 4}}, v1::KERAS}));
  return list;
}

}  // namespace strata::nn
