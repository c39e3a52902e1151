// Resizing of spatial axes, one axis after the other: each output cell is a sum of a few weighted input cells. A gather
// serves each tap, so an infinity elsewhere never meets a zero weight.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/spatial.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Output cell i is the sum over taps t of weight[t][i] * x[id[t][i]].
struct Taps {
  std::vector<std::vector<int64_t>> id;
  std::vector<std::vector<double>> weight;  // empty: one tap with weight 1
};

Value Apply(Value x, int axis, const Taps& taps) {
  std::vector<int64_t> order;
  order.push_back(axis);
  for (int i = 0; i < x.rank(); ++i) {
    if (i != axis) order.push_back(i);
  }
  std::vector<int64_t> back(order.size());
  for (size_t i = 0; i < order.size(); ++i) back[order[i]] = static_cast<int64_t>(i);
  const Value rows = Transpose(x, order);
  Value sum;
  for (size_t t = 0; t < taps.id.size(); ++t) {
    const int64_t out = static_cast<int64_t>(taps.id[t].size());
    Value part = Gather(rows, Constant(x.graph, Tensor::Of(DType::kI32, {out}, taps.id[t])));
    if (!taps.weight.empty()) {
      Shape spread(x.rank(), 1);
      spread[0] = out;
      part = part * Constant(x.graph, Tensor::Of(DType::kF32, spread, taps.weight[t]));
    }
    sum = sum ? sum + part : part;
  }
  return Transpose(sum, back);
}

Taps Nearest(int64_t in, int64_t out, double ratio, bool exact) {
  Taps taps{{{}}, {}};
  for (int64_t i = 0; i < out; ++i) {
    const double at = exact ? (static_cast<double>(i) + 0.5) * ratio : static_cast<double>(i) * ratio;
    taps.id[0].push_back(std::min(static_cast<int64_t>(std::floor(at)), in - 1));
  }
  return taps;
}

// Source position of an output cell's centre.
double Source(int64_t i, double ratio, bool align_corners) {
  return align_corners ? static_cast<double>(i) * ratio : (static_cast<double>(i) + 0.5) * ratio - 0.5;
}

Taps Linear(int64_t in, int64_t out, double ratio, bool align_corners) {
  Taps taps{{{}, {}}, {{}, {}}};
  for (int64_t i = 0; i < out; ++i) {
    const double at = std::max(Source(i, ratio, align_corners), 0.0);
    const int64_t low = std::min(static_cast<int64_t>(at), in - 1);
    const double share = std::min(std::max(at - static_cast<double>(low), 0.0), 1.0);
    taps.id[0].push_back(low);
    taps.id[1].push_back(std::min(low + 1, in - 1));
    taps.weight[0].push_back(1 - share);
    taps.weight[1].push_back(share);
  }
  return taps;
}

// Keys' cubic kernel.
double Cubic(double x, double a) {
  x = std::fabs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

// PyTorch: a = -0.75, cells beyond the edge repeat it. TensorFlow: a = -0.5, they drop out and the rest is normalised;
// fractions are multiples of 1/1024.
Taps Bicubic(int64_t in, int64_t out, double ratio, bool align_corners, bool tensorflow) {
  Taps taps{std::vector<std::vector<int64_t>>(4), std::vector<std::vector<double>>(4)};
  for (int64_t i = 0; i < out; ++i) {
    const double at = Source(i, ratio, align_corners), low = std::floor(at);
    const double share = tensorflow ? std::nearbyint((at - low) * 1024) / 1024 : at - low;
    double sum = 0;
    double weights[4];
    for (int t = 0; t < 4; ++t) {
      const int64_t cell = static_cast<int64_t>(low) + t - 1;
      weights[t] = Cubic(share - (t - 1), tensorflow ? -0.5 : -0.75);
      if (tensorflow && (cell < 0 || cell >= in)) weights[t] = 0;
      sum += weights[t];
      taps.id[t].push_back(std::clamp<int64_t>(cell, 0, in - 1));
    }
    for (int t = 0; t < 4; ++t) taps.weight[t].push_back(tensorflow ? weights[t] / sum : weights[t]);
  }
  return taps;
}

// TensorFlow's other kernels, by distance from the centre of an output cell in cells of the input.
struct Kernel {
  double radius;
  double (*weight)(double);
};

double Lanczos(double x, double radius) {
  if (x > radius) return 0;
  if (x <= 1e-3) return 1;
  const double t = M_PI * x;
  return radius * std::sin(t) * std::sin(t / radius) / (t * t);
}

double Mitchell(double x) {
  if (x >= 2) return 0;
  if (x >= 1) return ((-7.0 / 18 * x + 2) * x - 10.0 / 3) * x + 16.0 / 9;
  return (7.0 / 6 * x - 2) * x * x + 8.0 / 9;
}

Kernel KernelOf(const std::string& interpolation) {
  if (interpolation == "lanczos3") return {3, [](double x) { return Lanczos(x, 3); }};
  if (interpolation == "lanczos5") return {5, [](double x) { return Lanczos(x, 5); }};
  if (interpolation == "gaussian") return {1.5, [](double x) { return x < 1.5 ? std::exp(-2 * x * x) : 0; }};
  return {2, Mitchell};
}

// Cells within the radius, whose weights are divided by their sum; a window is never wider than the input.
Taps Weighted(int64_t in, int64_t out, double ratio, const Kernel& kernel) {
  const auto size = std::min(2 * static_cast<int64_t>(std::ceil(kernel.radius)) + 1, in);
  Taps taps{std::vector<std::vector<int64_t>>(size), std::vector<std::vector<double>>(size)};
  for (int64_t i = 0; i < out; ++i) {
    const double at = (static_cast<double>(i) + 0.5) * ratio;
    const auto cell = [in](double v) { return std::clamp<int64_t>(static_cast<int64_t>(v), 0, in - 1); };
    const int64_t first = cell(std::ceil(at - kernel.radius - 0.5)), last = cell(std::floor(at + kernel.radius - 0.5));
    double sum = 0;
    for (int64_t t = first; t <= last; ++t) sum += kernel.weight(std::fabs(static_cast<double>(t) + 0.5 - at));
    for (int64_t t = 0; t < size; ++t) {
      const bool inside = first + t <= last;
      taps.id[t].push_back(inside ? first + t : last);
      taps.weight[t].push_back(inside ? kernel.weight(std::fabs(static_cast<double>(first + t) + 0.5 - at)) / sum : 0);
    }
  }
  return taps;
}

Taps TapsOf(const std::string& interpolation, int64_t in, int64_t size) {
  const double ratio = 1.0 / static_cast<double>(size);
  // Of whole factors an area is one cell.
  if (interpolation == "nearest" || interpolation == "area") return Nearest(in, in * size, ratio, false);
  if (interpolation == "bilinear") return Linear(in, in * size, ratio, false);
  if (interpolation == "bicubic") return Bicubic(in, in * size, ratio, false, true);
  return Weighted(in, in * size, ratio, KernelOf(interpolation));
}

Outputs BuildUpsample(Scope& s, const v1::Upsample& a, const Args& args) {
  Value x = args[0];
  const int axes = x.rank() - 2;
  if (axes < 1 || axes > 3) return {s.Fail(absl::StrCat("input: must have 3 to 5 axes, got ", ShapeString(x.shape())))};
  if (a.size().empty() == a.scale_factor().empty())
    return {
        s.Fail(absl::StrCat("size|scale_factor: exactly one must be given, got ", a.size().empty() ? "none" : "both"))};
  const std::string& mode = a.mode();
  const bool nearest = mode == "nearest" || mode == "nearest-exact";
  const int wanted = mode == "linear"                          ? 1
                     : mode == "bilinear" || mode == "bicubic" ? 2
                     : mode == "trilinear"                     ? 3
                                                               : axes;
  if (wanted != axes)
    return {s.Fail(absl::StrCat("mode|input: ", mode, " needs ", wanted + 2, " axes, got ", ShapeString(x.shape())))};
  if (nearest && a.has_align_corners())
    return {s.Fail(absl::StrCat("align_corners: must be absent with mode ", mode, ", got ", a.align_corners()))};
  for (const auto* list : {&a.size()}) {
    if (list->size() > 1 && list->size() != axes)
      return {s.Fail(absl::StrCat("size: must have 1 or ", axes, " entries, got ", list->size()))};
  }
  if (a.scale_factor_size() > 1 && a.scale_factor_size() != axes) {
    return {s.Fail(absl::StrCat("scale_factor: must have 1 or ", axes, " entries, got ", a.scale_factor_size()))};
  }
  for (int i = 0; i < axes; ++i) {
    const int axis = i + 2;
    const int64_t in = x.dim(axis);
    const double factor = a.scale_factor().empty() ? 0 : a.scale_factor(a.scale_factor_size() == 1 ? 0 : i);
    const double scaled = std::min(std::floor(static_cast<double>(in) * factor), 1e18);
    const int64_t out = factor > 0 ? static_cast<int64_t>(scaled) : a.size(a.size_size() == 1 ? 0 : i);
    if (out < 1 || in < 1)
      return {s.Fail(absl::StrCat("scale_factor|size|input: must leave something of axis ", axis, ", got ", out))};
    if (!CheckPlaces(s, "scale_factor|size", out)) return {Value{s.graph(), -1}};
    double ratio =
        factor > 0 && !a.recompute_scale_factor() ? 1 / factor : static_cast<double>(in) / static_cast<double>(out);
    if (nearest) {
      x = Apply(x, axis, Nearest(in, out, ratio, mode == "nearest-exact"));
      continue;
    }
    if (a.align_corners()) ratio = out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0;
    x = Apply(x, axis,
              mode == "bicubic" ? Bicubic(in, out, ratio, a.align_corners(), false)
                                : Linear(in, out, ratio, a.align_corners()));
  }
  return {x};
}

template <int kAxes>
Outputs BuildUpSampling(Scope& s, const v1::UpSampling& a, const Args& args) {
  Value x = args[0];
  if (x.rank() != kAxes + 2)
    return {s.Fail(absl::StrCat("input: must have ", kAxes + 2, " axes, got ", ShapeString(x.shape())))};
  if (kAxes != 2 && a.interpolation() != "nearest")
    return {s.Fail(absl::StrCat("interpolation: must be nearest here, got ", a.interpolation()))};
  const std::vector<int64_t> size = PerAxis(s, "size", a.size(), kAxes, std::vector<int64_t>(kAxes, 2));
  const int first = a.data_format() == v1::CHANNELS_FIRST ? 2 : 1;
  for (int i = 0; i < kAxes && s.ok(); ++i) {
    if (!CheckPlaces(s, "size|input", size[i]) || !CheckPlaces(s, "size|input", x.dim(first + i)) ||
        !CheckPlaces(s, "size|input", x.dim(first + i) * size[i])) {
      break;
    }
    x = Apply(x, first + i, TapsOf(a.interpolation(), x.dim(first + i), size[i]));
  }
  return {x};
}

}  // namespace

std::vector<Component> ResizeLayers() {
  std::vector<Component> list;
  list.push_back(Layer<v1::Upsample>("upsample", &BuildUpsample)
                     .Shapes("x[N, C, spatial...] -> y[N, C, spatial'...]")
                     .With({"scale_factor: 2", {{2, 3, 4}}, v1::PYTORCH})
                     .With({"size: [5, 3] mode: \"bilinear\"", {{1, 2, 3, 4}}, v1::PYTORCH})
                     .With({"scale_factor: 1.7 mode: \"bicubic\"", {{1, 1, 3, 4}}, v1::PYTORCH})
                     .With({"size: 3 mode: \"trilinear\" align_corners: true", {{1, 1, 2, 2, 4}}, v1::PYTORCH}));
  list.push_back(Layer<v1::UpSampling>("up_sampling1d", &BuildUpSampling<1>)
                     .Shapes("x[N, L, C] -> y[N, L * size, C]")
                     .With({"", {{2, 3, 4}}, v1::KERAS})
                     .With({"size: 3", {{1, 2, 1}}, v1::KERAS})
                     .With({"size: 1", {{3, 2, 2}}, v1::KERAS}));
  list.push_back(Layer<v1::UpSampling>("up_sampling2d", &BuildUpSampling<2>)
                     .Shapes("x[N, H, W, C] -> y[N, H * size, W * size, C]")
                     .With({"", {{2, 3, 2, 4}}, v1::KERAS})
                     .With({"size: [3, 2] interpolation: \"bilinear\"", {{1, 2, 3, 1}}, v1::KERAS})
                     .With({"size: 2 interpolation: \"lanczos3\"", {{1, 3, 2, 2}}, v1::KERAS})
                     .With({"size: [1, 3] interpolation: \"gaussian\"", {{1, 1, 4, 1}}, v1::KERAS})
                     .With({"interpolation: \"bicubic\" data_format: CHANNELS_FIRST", {{1, 2, 3, 4}}, v1::KERAS}));
  list.push_back(Layer<v1::UpSampling>("up_sampling3d", &BuildUpSampling<3>)
                     .Shapes("x[N, D, H, W, C] -> y, spatial axes times size")
                     .With({"", {{1, 2, 3, 2, 2}}, v1::KERAS})
                     .With({"size: [1, 2, 3]", {{1, 2, 1, 2, 1}}, v1::KERAS})
                     .With({"size: 1", {{2, 1, 1, 2, 2}}, v1::KERAS}));
  return list;
}

}  // namespace strata::nn
