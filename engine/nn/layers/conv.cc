// Convolution (cross-correlation) over one, two or three spatial axes.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/layers/activations.h"
#include "engine/nn/layers/pad.h"
#include "engine/nn/layers/spatial.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

PadKind PadKindOf(v1::Conv::PaddingMode mode) {
  return mode == v1::Conv::REFLECT     ? PadKind::kReflect
         : mode == v1::Conv::REPLICATE ? PadKind::kReplicate
                                       : PadKind::kCircular;
}

// Padding of every spatial axis of a channels-last input of `sizes`.
Pads PadsOf(Scope& s, const v1::Conv& a, const std::vector<int64_t>& sizes, const std::vector<int64_t>& kernel,
            const ConvAttrs& at) {
  const int axes = static_cast<int>(sizes.size());
  Pads pads{std::vector<int64_t>(axes, 0), std::vector<int64_t>(axes, 0)};
  if (a.padding().kind_case() == v1::Padding::kSize) {
    if (!s.pytorch()) {
      s.Fail("padding: must be VALID, SAME or CAUSAL, got numbers");
      return pads;
    }
    pads.lo = pads.hi = PerAxis(s, "padding", a.padding().size().values(), axes, pads.lo);
    for (int64_t p : pads.lo) {
      if (p < 0) s.Fail(absl::StrCat("padding: must be >= 0, got ", p));
    }
    return pads;
  }
  for (int i = 0; i < axes; ++i) {
    const int64_t reach = at.dilation[i] * (kernel[i] - 1) + 1;
    switch (a.padding().mode()) {
      case v1::Padding::SAME:
        if (s.pytorch() && at.stride[i] != 1) {
          s.Fail(absl::StrCat("padding: \"same\" needs a stride of 1, got ", at.stride[i]));
        }
        SamePadding(sizes[i], reach, at.stride[i], &pads.lo[i], &pads.hi[i]);
        if (s.pytorch()) {  // every tap of the kernel counts, whatever the input's size
          pads.lo[i] = (reach - 1) / 2;
          pads.hi[i] = reach - 1 - pads.lo[i];
        }
        break;
      case v1::Padding::CAUSAL:
        if (axes != 1 || s.pytorch()) s.Fail("padding: must be VALID or SAME but for Keras' Conv1D, got CAUSAL");
        pads.lo[i] = reach - 1;
        break;
      default:
        break;
    }
  }
  return pads;
}

Value Weights(Scope& s, const v1::Conv& a, const std::vector<int64_t>& kernel, int64_t in_per_group, double* bound) {
  int64_t taps = in_per_group;
  for (int64_t k : kernel) taps *= k;
  *bound = 1 / std::sqrt(static_cast<double>(std::max<int64_t>(taps, 1)));
  if (s.pytorch()) {
    Shape shape{a.filters(), in_per_group};
    shape.insert(shape.end(), kernel.begin(), kernel.end());
    const Value w = s.Param("weight", shape, {.initializer = Uniform(*bound)});
    std::vector<int64_t> order;  // to [K..., C, O]
    for (size_t i = 0; i < kernel.size(); ++i) order.push_back(static_cast<int64_t>(i) + 2);
    order.push_back(1);
    order.push_back(0);
    return Transpose(w, order);
  }
  Shape shape(kernel.begin(), kernel.end());
  shape.push_back(in_per_group);
  shape.push_back(a.filters());
  return s.Param("kernel", shape,
                 {.initializer = a.kernel_initializer(),
                  .regularizer = a.has_kernel_regularizer() ? &a.kernel_regularizer() : nullptr,
                  .constraint = a.has_kernel_constraint() ? &a.kernel_constraint() : nullptr});
}

Outputs Build(Scope& s, const v1::Conv& a, const Args& args, int axes) {
  Value x = args[0];
  const bool unbatched = s.pytorch() && x.rank() == axes + 1;
  if (unbatched) {
    x = ExpandDims(x, 0);
    s.MixRows();  // axis 0 holds channels
  }
  // Keras takes several batch axes.
  Shape batch;
  if (!s.pytorch() && x.rank() > axes + 2) {
    batch.assign(x.shape().begin(), x.shape().end() - axes - 1);
    Shape merged(x.shape().end() - axes - 1, x.shape().end());
    merged.insert(merged.begin(), NumElements(batch));
    x = Reshape(x, merged);
  }
  if (x.rank() != axes + 2) {
    return {s.Fail(absl::StrCat("input: must have ", axes + 2, " axes, got ", ShapeString(args[0].value.shape())))};
  }
  const bool channels_first = s.pytorch() || a.data_format() == v1::CHANNELS_FIRST;
  if (channels_first) x = ToChannelsLast(x);
  const int64_t channels = x.dim(-1);
  if (a.has_in_channels() && a.in_channels() != channels) {
    return {s.Fail(absl::StrCat("in_channels|input: must equal the input's channels, ", a.in_channels(), ", got ",
                                ShapeString(args[0].value.shape())))};
  }
  if (channels % a.groups() != 0 || a.filters() % a.groups() != 0) {
    return {s.Fail(absl::StrCat("groups|in_channels|out_channels|filters: must divide the channels ", channels, " and ",
                                a.filters(), ", got ", a.groups()))};
  }
  const std::vector<int64_t> kernel = PerAxis(s, "kernel_size", a.kernel_size(), axes, std::vector<int64_t>(axes, 1));
  ConvAttrs at;
  at.stride = PerAxis(s, "stride", a.stride(), axes, std::vector<int64_t>(axes, 1));
  at.dilation = PerAxis(s, "dilation", a.dilation(), axes, std::vector<int64_t>(axes, 1));
  at.groups = a.groups();
  if (!s.pytorch() && NumElements(at.stride) != 1 && NumElements(at.dilation) != 1) {
    return {s.Fail(absl::StrCat("strides|dilation_rate: at most one may differ from 1, got ", ShapeString(at.stride),
                                " and ", ShapeString(at.dilation)))};
  }
  const std::vector<int64_t> sizes(x.shape().begin() + 1, x.shape().end() - 1);
  const Pads pads = PadsOf(s, a, sizes, kernel, at);
  if (!s.ok()) return {Value{s.graph(), -1}};
  at.pad_lo = pads.lo;
  at.pad_hi = pads.hi;
  if (s.pytorch() && a.padding_mode() != v1::Conv::ZEROS) {
    for (int i = 0; i < axes; ++i) x = PadAxis(s, PadKindOf(a.padding_mode()), x, i + 1, pads.lo[i], pads.hi[i]);
    at.pad_lo.assign(axes, 0);
    at.pad_hi.assign(axes, 0);
  }
  double bound = 0;
  const Value w = Weights(s, a, kernel, channels / a.groups(), &bound);
  if (!s.ok()) return {Value{s.graph(), -1}};
  Value y = Conv(x, w, at);
  if (a.use_bias()) {
    y = y + (s.pytorch() ? s.Param("bias", {a.filters()}, {.initializer = Uniform(bound)})
                         : s.Param("bias", {a.filters()},
                                   {.initializer = a.bias_initializer(),
                                    .regularizer = a.has_bias_regularizer() ? &a.bias_regularizer() : nullptr,
                                    .constraint = a.has_bias_constraint() ? &a.bias_constraint() : nullptr}));
  }
  if (channels_first) y = ToChannelsFirst(y);
  if (!batch.empty() && s.ok()) {
    batch.insert(batch.end(), y.shape().begin() + 1, y.shape().end());
    y = Reshape(y, batch);
  }
  Annotated out = Activate(s, a.activation(), unbatched ? Squeeze(y, 0) : y);
  return {out};
}

Outputs Build1d(Scope& s, const v1::Conv& a, const Args& args) { return Build(s, a, args, 1); }
Outputs Build2d(Scope& s, const v1::Conv& a, const Args& args) { return Build(s, a, args, 2); }
Outputs Build3d(Scope& s, const v1::Conv& a, const Args& args) { return Build(s, a, args, 3); }

}  // namespace

Components Conv() {
  return {
      Layer<v1::Conv>("conv1d", &Build1d)
          .Shapes("x[N, C, L] -> y[N, filters, L'] (PyTorch); x[N, L, C] -> y[N, L', filters] (Keras)")
          .Takes(kFloats)
          .With({"filters: 3 kernel_size: 3 padding { size { values: 1 } }", {{2, 2, 5}}, v1::PYTORCH})
          .With({"filters: 2 kernel_size: 2 padding { mode: CAUSAL } dilation: 2", {{2, 5, 3}}, v1::KERAS})
          .With({"filters: 4 kernel_size: 3 groups: 2 padding_mode: CIRCULAR padding { size { values: 2 } }",
                 {{1, 4, 6}},
                 v1::PYTORCH}),

      Layer<v1::Conv>("conv2d", &Build2d)
          .Shapes("x[N, C, H, W] -> y[N, filters, H', W'] (PyTorch); x[N, H, W, C] -> y[N, H', W', filters] (Keras)")
          .Takes(kFloats)
          .With({"filters: 3 kernel_size: 3", {{2, 2, 5, 4}}, v1::PYTORCH})
          .With({"filters: 2 kernel_size: [2, 3] stride: 2 padding { mode: SAME }", {{2, 5, 4, 3}}, v1::KERAS})
          .With({"filters: 4 kernel_size: [1, 2] groups: 2 dilation: [1, 2] use_bias: false",
                 {{1, 2, 3, 5}},
                 v1::PYTORCH})
          .Reject("filters: 4 kernel_size: 0", {{1, 2, 3, 5}}, "kernel_size"),

      Layer<v1::Conv>("conv3d", &Build3d)
          .Shapes("x[N, C, D, H, W] -> y[N, filters, D', H', W'] (PyTorch); x[N, D, H, W, C] -> y[N, D', H', W', "
                  "filters] (Keras)")
          .Takes(kFloats)
          .With({"filters: 2 kernel_size: 2", {{1, 2, 3, 4, 3}}, v1::PYTORCH})
          .With({"filters: 3 kernel_size: [1, 2, 1] stride: [1, 2, 1]", {{2, 2, 4, 2, 1}}, v1::KERAS})
          .With({"filters: 1 kernel_size: 3 padding { size { values: 1 } }", {{1, 1, 2, 3, 2}}, v1::PYTORCH})};
}

}  // namespace strata::nn
