// Pooling over windows. Windows are tables (start and length per axis, clipped to the input), so padding, ceil mode and
// adaptive windows are all the same operation.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/spatial.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// One axis: the windows, and the size that PyTorch's divisor counts for each (with padding, but never beyond it).
struct Windows {
  PoolAttrs::Axis axis;
  std::vector<int64_t> counted;
};

struct Rule {
  std::vector<int64_t> size, stride, dilation, lo, hi;
  bool ceil = false;
};

Windows WindowsOf(Scope& s, const Rule& r, int i, int64_t in) {
  Windows w;
  w.axis.dilation = r.dilation[i];
  const int64_t reach = r.dilation[i] * (r.size[i] - 1) + 1;
  const int64_t room = in + r.lo[i] + r.hi[i] - reach;
  // Rounded up, a window that is larger than the padded input still has its first cells.
  if (room < 0 && (!r.ceil || room + r.stride[i] <= 0)) {
    s.Fail(absl::StrCat("kernel_size|pool_size|input: windows must fit the padded input, ", in + r.lo[i] + r.hi[i],
                        ", got ", reach));
    return w;
  }
  int64_t count = room < 0 ? 1 : (r.ceil ? room + r.stride[i] - 1 : room) / r.stride[i] + 1;
  // A window that starts in the padding at the end does not exist.
  if (r.ceil && (count - 1) * r.stride[i] >= in + r.lo[i]) --count;
  if (!CheckPlaces(s, "input", count)) return w;
  for (int64_t j = 0; j < count; ++j) {
    const int64_t begin = j * r.stride[i] - r.lo[i];
    const int64_t skip = begin < 0 ? (-begin + r.dilation[i] - 1) / r.dilation[i] : 0;
    const int64_t start = begin + skip * r.dilation[i];
    const int64_t fit = start >= in ? 0 : (in - 1 - start) / r.dilation[i] + 1;
    w.axis.start.push_back(std::min(start, std::max<int64_t>(in - 1, 0)));
    w.axis.length.push_back(std::min(r.size[i] - skip, fit));
    w.counted.push_back(std::min(begin + r.size[i], in + r.hi[i]) - begin);
  }
  return w;
}

template <typename M>
Rule RuleOf(Scope& s, const M& a, Value x, int axes) {
  Rule r;
  const std::vector<int64_t> zeros(axes, 0), ones(axes, 1);
  r.size = PerAxis(s, s.pytorch() ? "kernel_size" : "pool_size", a.pool_size(), axes, {});
  if (r.size.empty()) {
    s.Fail("kernel_size: must be given, got nothing");
    return r;
  }
  r.stride = PerAxis(s, "stride", a.stride(), axes, r.size);
  r.dilation = ones;
  if constexpr (std::is_same_v<M, v1::MaxPool>) r.dilation = PerAxis(s, "dilation", a.dilation(), axes, ones);
  r.lo = r.hi = zeros;
  r.ceil = a.ceil_mode();
  if (a.padding().kind_case() == v1::Padding::kSize) {
    r.lo = r.hi = PerAxis(s, "padding", a.padding().size().values(), axes, zeros);
    for (int i = 0; i < axes; ++i) {
      if (r.lo[i] < 0 || 2 * r.lo[i] > r.size[i]) {
        s.Fail(absl::StrCat("padding|kernel_size: must be between 0 and half the window of ", r.size[i], ", got ",
                            r.lo[i]));
      }
    }
  } else if (a.padding().mode() == v1::Padding::SAME) {
    for (int i = 0; i < axes; ++i) SamePadding(x.dim(i + 1), r.size[i], r.stride[i], &r.lo[i], &r.hi[i]);
  } else if (a.padding().mode() == v1::Padding::CAUSAL) {
    s.Fail("padding: must be \"valid\" or \"same\", got \"causal\"");
  }
  return r;
}

// Brings the input to N, spatial..., C; remembers how to go back.
struct Frame {
  Value x;
  bool unbatched = false, channels_first = false;

  Value Back(Value y) const {
    if (channels_first) y = ToChannelsFirst(y);
    return unbatched ? Squeeze(y, 0) : y;
  }
};

Frame Enter(Scope& s, Value x, int axes, v1::DataFormat format) {
  Frame f{x, s.pytorch() && x.rank() == axes + 1, s.pytorch() || format == v1::CHANNELS_FIRST};
  if (f.unbatched) {
    f.x = ExpandDims(x, 0);
    s.MixRows();  // axis 0 holds channels
  }
  if (f.x.rank() != axes + 2) {
    f.x = s.Fail(absl::StrCat("input: must have ", axes + 2, " axes, got ", ShapeString(x.shape())));
  } else if (f.channels_first) {
    f.x = ToChannelsLast(f.x);
  }
  return f;
}

template <int kAxes>
Outputs BuildMax(Scope& s, const v1::MaxPool& a, const Args& args) {
  const Frame f = Enter(s, args[0], kAxes, a.data_format());
  if (!f.x) return {f.x};
  const Rule r = RuleOf(s, a, f.x, kAxes);
  PoolAttrs at;
  for (int i = 0; i < kAxes && s.ok(); ++i) at.axes.push_back(WindowsOf(s, r, i, f.x.dim(i + 1)).axis);
  if (!s.ok()) return {Value{s.graph(), -1}};
  at.near_ties = !s.pytorch() && kAxes == 3;
  const MaxPoolResult y = MaxPool(f.x, at);
  Outputs out{f.Back(y.y)};
  if (a.return_indices()) out.push_back(f.Back(Cast(y.position, DType::kI64)));
  return out;
}

// Sum of the windows times the reciprocal of each window's divisor.
Value Mean(Value x, const PoolAttrs& at, const std::vector<std::vector<int64_t>>& counted) {
  Shape shape(at.axes.size() + 2, 1);
  for (size_t i = 0; i < at.axes.size(); ++i) shape[i + 1] = static_cast<int64_t>(at.axes[i].start.size());
  std::vector<double> factor(NumElements(shape), 1);
  bool equal = true;
  for (size_t cell = 0; cell < factor.size(); ++cell) {
    int64_t rest = static_cast<int64_t>(cell), divisor = 1;
    for (size_t i = at.axes.size(); i-- > 0;) {
      divisor *= counted[i][rest % shape[i + 1]];
      rest /= shape[i + 1];
    }
    factor[cell] = 1.0 / static_cast<double>(divisor);
    equal &= factor[cell] == factor[0];
  }
  const Value sum = SumPool(x, at);
  if (factor.empty()) return sum;
  return equal ? sum * factor[0] : sum * Constant(x.graph, Tensor::Of(DType::kF32, shape, factor));
}

template <int kAxes>
Outputs BuildAvg(Scope& s, const v1::AvgPool& a, const Args& args) {
  const Frame f = Enter(s, args[0], kAxes, a.data_format());
  if (!f.x) return {f.x};
  const Rule r = RuleOf(s, a, f.x, kAxes);
  PoolAttrs at;
  std::vector<std::vector<int64_t>> counted;
  const bool with_padding = s.pytorch() && a.count_include_pad();
  for (int i = 0; i < kAxes && s.ok(); ++i) {
    Windows w = WindowsOf(s, r, i, f.x.dim(i + 1));
    counted.push_back(with_padding ? w.counted : w.axis.length);
    at.axes.push_back(std::move(w.axis));
  }
  if (!s.ok()) return {Value{s.graph(), -1}};
  if (a.has_divisor_override()) {
    if (a.divisor_override() == 0) return {s.Fail("divisor_override: must not be 0, got 0")};
    return {f.Back(SumPool(f.x, at) * (1.0 / static_cast<double>(a.divisor_override())))};
  }
  return {f.Back(Mean(f.x, at, counted))};
}

template <int kAxes>
Outputs BuildAdaptiveAvg(Scope& s, const v1::AdaptiveAvgPool& a, const Args& args) {
  const Frame f = Enter(s, args[0], kAxes, v1::CHANNELS_FIRST);
  if (!f.x) return {f.x};
  const std::vector<int64_t> size = PerAxis(s, "output_size", a.output_size(), kAxes, std::vector<int64_t>(kAxes, 0));
  PoolAttrs at;
  std::vector<std::vector<int64_t>> counted;
  for (int i = 0; i < kAxes; ++i) {
    at.axes.push_back(AdaptiveWindows(s, size[i], f.x.dim(i + 1)));
    counted.push_back(at.axes.back().length);
  }
  if (!s.ok()) return {Value{s.graph(), -1}};
  return {f.Back(Mean(f.x, at, counted))};
}

}  // namespace

std::vector<Component> PoolLayers() {
  const std::string shapes = "x[N, C, spatial...] -> y[N, C, spatial'...] (Keras: channels last)";
  std::vector<Component> list;
  list.push_back(
      Layer<v1::MaxPool>("max_pool1d", &BuildMax<1>)
          .Shapes(shapes)
          .With({"pool_size: 2", {{2, 3, 7}}, v1::PYTORCH})
          .With({"pool_size: 3 stride: 2 padding { mode: SAME }", {{2, 6, 3}}, v1::KERAS})
          .With({"pool_size: 2 dilation: 2 padding { size { values: 1 } } ceil_mode: true", {{1, 2, 6}}, v1::PYTORCH}));
  list.push_back(Layer<v1::MaxPool>("max_pool2d", &BuildMax<2>)
                     .Shapes(shapes)
                     .With({"pool_size: 2", {{2, 3, 4, 5}}, v1::PYTORCH})
                     .With({"pool_size: [2, 3] stride: 1 padding { mode: SAME }", {{2, 3, 4, 2}}, v1::KERAS})
                     .With({"pool_size: 3 stride: 2 padding { size { values: 1 } } return_indices: true",
                            {{1, 2, 5, 5}},
                            v1::PYTORCH}));
  list.push_back(Layer<v1::MaxPool>("max_pool3d", &BuildMax<3>)
                     .Shapes(shapes)
                     .With({"pool_size: 2", {{1, 2, 4, 3, 2}}, v1::PYTORCH})
                     .With({"pool_size: 2 padding { mode: SAME }", {{1, 3, 2, 3, 2}}, v1::KERAS})
                     .With({"pool_size: [1, 2, 2] stride: 1", {{1, 1, 2, 3, 3}}, v1::PYTORCH}));
  list.push_back(
      Layer<v1::AvgPool>("avg_pool1d", &BuildAvg<1>)
          .Shapes(shapes)
          .With({"pool_size: 2", {{2, 3, 7}}, v1::PYTORCH})
          .With({"pool_size: 3 padding { mode: SAME }", {{2, 7, 3}}, v1::KERAS})
          .With({"pool_size: 3 stride: 2 padding { size { values: 1 } } ceil_mode: true", {{1, 2, 6}}, v1::PYTORCH}));
  list.push_back(
      Layer<v1::AvgPool>("avg_pool2d", &BuildAvg<2>)
          .Shapes(shapes)
          .With({"pool_size: 2", {{2, 3, 4, 5}}, v1::PYTORCH})
          .With({"pool_size: [2, 3] stride: 2 padding { mode: SAME }", {{2, 3, 4, 2}}, v1::KERAS})
          .With({"pool_size: 3 padding { size { values: 1 } } count_include_pad: false", {{1, 2, 5, 5}}, v1::PYTORCH}));
  list.push_back(Layer<v1::AvgPool>("avg_pool3d", &BuildAvg<3>)
                     .Shapes(shapes)
                     .With({"pool_size: 2", {{1, 2, 4, 3, 2}}, v1::PYTORCH})
                     .With({"pool_size: 2 padding { mode: SAME }", {{1, 3, 2, 3, 2}}, v1::KERAS})
                     .With({"pool_size: 2 divisor_override: 3", {{1, 1, 2, 3, 3}}, v1::PYTORCH}));
  list.push_back(Layer<v1::AdaptiveAvgPool>("adaptive_avg_pool1d", &BuildAdaptiveAvg<1>)
                     .Shapes(shapes)
                     .With({"output_size: 3", {{2, 3, 7}}, v1::PYTORCH})
                     .With({"output_size: 1", {{1, 2, 5}}, v1::PYTORCH})
                     .With({"output_size: 5", {{1, 2, 3}}, v1::PYTORCH}));
  list.push_back(Layer<v1::AdaptiveAvgPool>("adaptive_avg_pool2d", &BuildAdaptiveAvg<2>)
                     .Shapes(shapes)
                     .With({"output_size: 1", {{2, 3, 4, 5}}, v1::PYTORCH})
                     .With({"output_size: [2, 3]", {{1, 2, 5, 4}}, v1::PYTORCH})
                     .With({"output_size: [0, 2]", {{1, 1, 3, 3}}, v1::PYTORCH}));
  list.push_back(Layer<v1::AdaptiveAvgPool>("adaptive_avg_pool3d", &BuildAdaptiveAvg<3>)
                     .Shapes(shapes)
                     .With({"output_size: 1", {{1, 2, 2, 3, 2}}, v1::PYTORCH})
                     .With({"output_size: 2", {{1, 1, 3, 2, 5}}, v1::PYTORCH})
                     .With({"output_size: [1, 2, 3]", {{1, 1, 3, 3, 3}}, v1::PYTORCH}));
  return list;
}

}  // namespace strata::nn
