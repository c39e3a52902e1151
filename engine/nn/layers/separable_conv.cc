// Keras' separable convolution: a depthwise one, then one of size one over the channels.
#include "engine/nn/component.h"
#include "engine/nn/layers/depthwise.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

template <int kAxes>
Outputs Build(Scope& s, const v1::SeparableConv& a, const Args& args) {
  const Value x = EnterDepthwise(s, a, args[0], kAxes);
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
  return FinishDepthwise(s, a, MatMul(y, Reshape(w, {y.dim(-1), a.filters()})));
}

}  // namespace

Components SeparableConv() {
  const std::string shapes = "x[N, spatial..., C] -> y[N, spatial'..., filters]";
  return {Layer<v1::SeparableConv>("separable_conv1d", &Build<1>)
              .Shapes(shapes)
              .Takes(kFloats)
              .With({"filters: 3 kernel_size: 2", {{2, 5, 2}}, v1::KERAS})
              .With({"filters: 1 kernel_size: 3 padding { mode: CAUSAL } depth_multiplier: 2", {{1, 4, 3}}, v1::KERAS})
              .With({"filters: 2 kernel_size: 2 stride: 2 use_bias: false", {{3, 5, 1}}, v1::KERAS}),

          Layer<v1::SeparableConv>("separable_conv2d", &Build<2>)
              .Shapes(shapes)
              .Takes(kFloats)
              .With({"filters: 3 kernel_size: 2", {{2, 4, 5, 2}}, v1::KERAS})
              .With({"filters: 2 kernel_size: [3, 2] padding { mode: SAME } stride: 2 depth_multiplier: 2",
                     {{1, 5, 4, 3}},
                     v1::KERAS})
              .With({"filters: 2 kernel_size: 2 data_format: CHANNELS_FIRST dilation: 2", {{2, 3, 5, 4}}, v1::KERAS})};
}

}  // namespace strata::nn
