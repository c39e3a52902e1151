// What Keras' depthwise and separable convolutions share: a convolution in as many groups as there are channels, whose
// output the latter mixes. M is either's message.
#pragma once

#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/nn/layers/activations.h"
#include "engine/nn/layers/spatial.h"
#include "engine/ops/ops.h"

namespace strata::nn {

// The input with the channels last; fails if it has not `axes` spatial axes.
template <typename M>
Value EnterDepthwise(Scope& s, const M& a, Value x, int axes) {
  if (x.rank() != axes + 2)
    return s.Fail(absl::StrCat("input: must have ", axes + 2, " axes, got ", ShapeString(x.shape())));
  return a.data_format() == v1::CHANNELS_FIRST ? ToChannelsLast(x) : x;
}

// Window, strides, padding; fails if they do not fit.
template <typename M>
ConvAttrs DepthwiseAttrs(Scope& s, const M& a, Value x, int axes, std::vector<int64_t>* kernel) {
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
  const ConvAttrs at = DepthwiseAttrs(s, a, x, axes, &kernel);
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

// Bias, data format and activation.
template <typename M>
Outputs FinishDepthwise(Scope& s, const M& a, Value y) {
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

}  // namespace strata::nn
