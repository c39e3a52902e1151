// Transposed convolution: the gradient of a convolution with respect to its input. The convolution meant here maps the
// layer's output to its input.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/layers/activations.h"
#include "engine/nn/layers/spatial.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// out = (in - 1) s - 2 p + d (k - 1) + output_padding + 1
void PytorchSizes(Scope& s, const v1::ConvTranspose& a, Value x, const std::vector<int64_t>& kernel, ConvAttrs* at,
                  Shape* result) {
  const int axes = static_cast<int>(kernel.size());
  const std::vector<int64_t> zeros(axes, 0);
  if (a.padding().kind_case() != v1::Padding::kSize) {
    s.Fail(absl::StrCat("padding: must be numbers, got ", v1::Padding::Mode_Name(a.padding().mode())));
    return;
  }
  at->pad_lo = at->pad_hi = PerAxis(s, "padding", a.padding().size().values(), axes, zeros);
  const std::vector<int64_t> extra = PerAxis(s, "output_padding", a.output_padding().values(), axes, zeros);
  for (int i = 0; i < axes && s.ok(); ++i) {
    if (extra[i] >= std::max(at->stride[i], at->dilation[i])) {
      s.Fail(absl::StrCat("output_padding|stride|dilation: must be smaller than the stride or the dilation, got ",
                          extra[i]));
    }
    const int64_t reach = at->dilation[i] * (kernel[i] - 1) + 1;
    const int64_t out = (x.dim(i + 1) - 1) * at->stride[i] - 2 * at->pad_lo[i] + reach + extra[i];
    if (out <= 0) s.Fail(absl::StrCat("padding|input: must leave something of axis ", i, ", got ", out));
    if (extra[i] >= at->stride[i]) at->pad_hi[i] -= extra[i];
    result->push_back(out);
  }
}

// valid: in s + max(k - s, 0); same: in s; with output_padding: (in - 1) s + k - 2 (k / 2 or 0) + output_padding.
void KerasSizes(Scope& s, const v1::ConvTranspose& a, Value x, const std::vector<int64_t>& kernel, ConvAttrs* at,
                Shape* result) {
  const int axes = static_cast<int>(kernel.size());
  const bool same = a.padding().mode() == v1::Padding::SAME;
  if (a.padding().kind_case() == v1::Padding::kSize || a.padding().mode() == v1::Padding::CAUSAL) {
    s.Fail(absl::StrCat("padding: must be VALID or SAME, got ", a.padding().has_size() ? "numbers" : "CAUSAL"));
    return;
  }
  const std::vector<int64_t> extra =
      PerAxis(s, "output_padding", a.output_padding().values(), axes, std::vector<int64_t>(axes, -1));
  for (int i = 0; i < axes && s.ok(); ++i) {
    const int64_t in = x.dim(i + 1), stride = at->stride[i], reach = at->dilation[i] * (kernel[i] - 1) + 1;
    if (extra[i] >= stride)
      s.Fail(absl::StrCat("output_padding|strides: must be smaller than the stride ", stride, ", got ", extra[i]));
    int64_t out = same ? in * stride : in * stride + std::max<int64_t>(reach - stride, 0);
    if (extra[i] >= 0) out = (in - 1) * stride + reach - 2 * (same ? reach / 2 : 0) + extra[i];
    if (out <= 0) s.Fail(absl::StrCat("padding|input: must leave something of axis ", i, ", got ", out));
    const int64_t total = same ? std::max<int64_t>((in - 1) * stride + reach - out, 0) : 0;
    at->pad_lo.push_back(total / 2);
    at->pad_hi.push_back(total - total / 2);
    result->push_back(out);
  }
}

Value Weights(Scope& s, const v1::ConvTranspose& a, const std::vector<int64_t>& kernel, int64_t channels,
              double* bound) {
  int64_t taps = a.filters() / std::max<int64_t>(a.groups(), 1);
  for (int64_t k : kernel) taps *= k;
  *bound = 1 / std::sqrt(static_cast<double>(std::max<int64_t>(taps, 1)));
  Shape shape;
  if (s.pytorch()) {
    shape = {channels, a.filters() / a.groups()};
    shape.insert(shape.end(), kernel.begin(), kernel.end());
    std::vector<int64_t> order;  // to [K..., out / g, in]
    for (size_t i = 0; i < kernel.size(); ++i) order.push_back(static_cast<int64_t>(i) + 2);
    order.push_back(1);
    order.push_back(0);
    return Transpose(s.Param("weight", shape, {.initializer = Uniform(*bound)}), order);
  }
  shape.assign(kernel.begin(), kernel.end());
  shape.push_back(a.filters());
  shape.push_back(channels);
  return s.Param("kernel", shape,
                 {.initializer = a.kernel_initializer(),
                  .regularizer = a.has_kernel_regularizer() ? &a.kernel_regularizer() : nullptr,
                  .constraint = a.has_kernel_constraint() ? &a.kernel_constraint() : nullptr});
}

template <int kAxes>
Outputs Build(Scope& s, const v1::ConvTranspose& a, const Args& args) {
  Value x = args[0];
  const bool unbatched = s.pytorch() && x.rank() == kAxes + 1;
  if (unbatched) {
    x = ExpandDims(x, 0);
    s.MixRows();  // axis 0 holds channels
  }
  if (x.rank() != kAxes + 2)
    return {s.Fail(absl::StrCat("input: must have ", kAxes + 2, " axes, got ", ShapeString(args[0].value.shape())))};
  const bool channels_first = s.pytorch() || a.data_format() == v1::CHANNELS_FIRST;
  if (channels_first) x = ToChannelsLast(x);
  const int64_t channels = x.dim(-1), groups = s.pytorch() ? a.groups() : 1;
  if (a.has_in_channels() && a.in_channels() != channels) {
    return {s.Fail(
        absl::StrCat("in_channels|input: must equal the input's channels, ", a.in_channels(), ", got ", channels))};
  }
  if (channels % groups != 0 || a.filters() % groups != 0) {
    return {s.Fail(absl::StrCat("groups|in_channels|out_channels: must divide the channels ", channels, " and ",
                                a.filters(), ", got ", groups))};
  }
  const std::vector<int64_t> ones(kAxes, 1), kernel = PerAxis(s, "kernel_size", a.kernel_size(), kAxes, ones);
  ConvAttrs at;
  at.stride = PerAxis(s, "stride", a.stride(), kAxes, ones);
  at.dilation = PerAxis(s, "dilation", a.dilation(), kAxes, ones);
  if (!s.pytorch() && kAxes == 3) at.dilation = ones;  // Keras takes the argument and does not use it
  at.groups = groups;
  Shape result{x.dim(0)};
  s.pytorch() ? PytorchSizes(s, a, x, kernel, &at, &result) : KerasSizes(s, a, x, kernel, &at, &result);
  double bound = 0;
  const Value w = s.ok() ? Weights(s, a, kernel, channels, &bound) : Value{s.graph(), -1};
  if (!s.ok()) return {Value{s.graph(), -1}};
  result.push_back(a.filters());
  at.result = result;
  const Value in[] = {x, w};
  Value y = Emit(s.graph(), Op::kConvGradInput, at, in)[0];
  if (a.use_bias()) {
    y = y + (s.pytorch() ? s.Param("bias", {a.filters()}, {.initializer = Uniform(bound)})
                         : s.Param("bias", {a.filters()},
                                   {.initializer = a.bias_initializer(),
                                    .regularizer = a.has_bias_regularizer() ? &a.bias_regularizer() : nullptr,
                                    .constraint = a.has_bias_constraint() ? &a.bias_constraint() : nullptr}));
  }
  if (channels_first) y = ToChannelsFirst(y);
  Annotated out = Activate(s, a.activation(), unbatched ? Squeeze(y, 0) : y);
  return {out};
}

}  // namespace

Components ConvTranspose() {
  const std::string shapes =
      "x[N, C, spatial...] -> y[N, filters, spatial'...] (PyTorch); x[N, spatial..., C] -> y[N, spatial'..., filters] "
      "(Keras)";
  return {Layer<v1::ConvTranspose>("conv_transpose1d", &Build<1>)
              .Shapes(shapes)
              .Takes(kFloats)
              .With({"filters: 3 kernel_size: 3 stride: 2", {{2, 2, 4}}, v1::PYTORCH})
              .With({"filters: 4 kernel_size: 2 groups: 2 padding { size { values: 1 } }", {{1, 2, 5}}, v1::PYTORCH})
              .With({"filters: 2 kernel_size: 3 stride: 2 padding { mode: SAME }", {{2, 4, 3}}, v1::KERAS}),

          Layer<v1::ConvTranspose>("conv_transpose2d", &Build<2>)
              .Shapes(shapes)
              .Takes(kFloats)
              .With({"filters: 3 kernel_size: 3 stride: 2 padding { size { values: 1 } } output_padding { values: 1 }",
                     {{2, 2, 3, 4}},
                     v1::PYTORCH})
              .With({"filters: 2 kernel_size: [1, 2] stride: [3, 1]", {{1, 2, 3, 2}}, v1::KERAS})
              .With({"filters: 2 kernel_size: 2 dilation: 2 use_bias: false", {{2, 3, 2, 2}}, v1::PYTORCH}),
          Layer<v1::ConvTranspose>("conv_transpose3d", &Build<3>)
              .Shapes(shapes)
              .Takes(kFloats)
              .With({"filters: 2 kernel_size: 2", {{1, 2, 2, 3, 2}}, v1::PYTORCH})
              .With({"filters: 1 kernel_size: 2 stride: 2", {{1, 2, 1, 2, 2}}, v1::KERAS})
              .With({"filters: 2 kernel_size: [1, 2, 1] stride: 2", {{1, 1, 2, 2, 2}}, v1::PYTORCH})};
}

}  // namespace strata::nn
