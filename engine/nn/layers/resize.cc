#include "engine/nn/layers/resize.h"

#include <algorithm>
#include <cmath>

#include "engine/ops/ops.h"

namespace strata::nn {

Value ApplyTaps(Value x, int axis, const Taps& taps) {
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

Taps NearestTaps(int64_t in, int64_t out, double ratio, bool exact) {
  Taps taps{{{}}, {}};
  for (int64_t i = 0; i < out; ++i) {
    const double at = exact ? (static_cast<double>(i) + 0.5) * ratio : static_cast<double>(i) * ratio;
    taps.id[0].push_back(std::min(static_cast<int64_t>(std::floor(at)), in - 1));
  }
  return taps;
}

namespace {

// Source position of an output cell's centre.
double Source(int64_t i, double ratio, bool align_corners) {
  return align_corners ? static_cast<double>(i) * ratio : (static_cast<double>(i) + 0.5) * ratio - 0.5;
}

// Keys' cubic kernel.
double Cubic(double x, double a) {
  x = std::fabs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

}  // namespace

Taps LinearTaps(int64_t in, int64_t out, double ratio, bool align_corners) {
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

Taps BicubicTaps(int64_t in, int64_t out, double ratio, bool align_corners, bool tensorflow) {
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

}  // namespace strata::nn
