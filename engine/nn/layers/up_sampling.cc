// Keras' UpSampling by whole factors, with TensorFlow's kernels.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/resize.h"
#include "engine/nn/layers/spatial.h"

namespace strata::nn {
namespace {

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
  if (interpolation == "nearest" || interpolation == "area") return NearestTaps(in, in * size, ratio, false);
  if (interpolation == "bilinear") return LinearTaps(in, in * size, ratio, false);
  if (interpolation == "bicubic") return BicubicTaps(in, in * size, ratio, false, true);
  return Weighted(in, in * size, ratio, KernelOf(interpolation));
}

template <int kAxes>
Outputs Build(Scope& s, const v1::UpSampling& a, const Args& args) {
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
    x = ApplyTaps(x, first + i, TapsOf(a.interpolation(), x.dim(first + i), size[i]));
  }
  return {x};
}

}  // namespace

Components UpSampling() {
  return {Layer<v1::UpSampling>("up_sampling1d", &Build<1>)
              .Shapes("x[N, L, C] -> y[N, L * size, C]")
              .With({"", {{2, 3, 4}}, v1::KERAS})
              .With({"size: 3", {{1, 2, 1}}, v1::KERAS})
              .With({"size: 1", {{3, 2, 2}}, v1::KERAS}),
          Layer<v1::UpSampling>("up_sampling2d", &Build<2>)
              .Shapes("x[N, H, W, C] -> y[N, H * size, W * size, C]")
              .Takes(kAnyType, kNumbers)
              .With({"", {{2, 3, 2, 4}}, v1::KERAS})
              .With({"size: [3, 2] interpolation: \"bilinear\"", {{1, 2, 3, 1}}, v1::KERAS})
              .With({"size: 2 interpolation: \"lanczos3\"", {{1, 3, 2, 2}}, v1::KERAS})
              .With({"size: [1, 3] interpolation: \"gaussian\"", {{1, 1, 4, 1}}, v1::KERAS})
              .With({"interpolation: \"bicubic\" data_format: CHANNELS_FIRST", {{1, 2, 3, 4}}, v1::KERAS}),
          Layer<v1::UpSampling>("up_sampling3d", &Build<3>)
              .Shapes("x[N, D, H, W, C] -> y[N, D * size, H * size, W * size, C]")
              .With({"", {{1, 2, 3, 2, 2}}, v1::KERAS})
              .With({"size: [1, 2, 3]", {{1, 2, 1, 2, 1}}, v1::KERAS})
              .With({"size: 1", {{2, 1, 1, 2, 2}}, v1::KERAS})};
}

}  // namespace strata::nn
