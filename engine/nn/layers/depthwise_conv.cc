// Keras' depthwise convolution: each channel has filters of its own.
#include "engine/nn/component.h"
#include "engine/nn/layers/depthwise.h"

namespace strata::nn {
namespace {

template <int kAxes>
Outputs Build(Scope& s, const v1::DepthwiseConv& a, const Args& args) {
  const Value x = EnterDepthwise(s, a, args[0], kAxes);
  if (!x) return {x};
  const Value y = Depthwise(s, a, x, kAxes);
  return y ? FinishDepthwise(s, a, y) : Outputs{y};
}

}  // namespace

Components DepthwiseConv() {
  const std::string shapes = "x[N, spatial..., C] -> y[N, spatial'..., C * depth_multiplier]";
  return {
      Layer<v1::DepthwiseConv>("depthwise_conv1d", &Build<1>)
          .Shapes(shapes)
          .Takes(kFloats)
          .With({"kernel_size: 2", {{2, 5, 2}}, v1::KERAS})
          .With({"kernel_size: 3 padding { mode: SAME } depth_multiplier: 2", {{1, 4, 3}}, v1::KERAS})
          .With({"kernel_size: 1 use_bias: false", {{3, 2, 1}}, v1::KERAS}),

      Layer<v1::DepthwiseConv>("depthwise_conv2d", &Build<2>)
          .Shapes(shapes)
          .Takes(kFloats)
          .With({"kernel_size: 2", {{2, 4, 5, 2}}, v1::KERAS})
          .With({"kernel_size: [3, 2] padding { mode: SAME } stride: 2 depth_multiplier: 3", {{1, 5, 4, 3}}, v1::KERAS})
          .With({"kernel_size: 2 data_format: CHANNELS_FIRST", {{2, 3, 3, 4}}, v1::KERAS})};
}

}  // namespace strata::nn
