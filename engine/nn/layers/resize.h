// Resizing of one axis: each output cell is a sum of a few weighted input cells. A gather serves each tap, so an
// infinity elsewhere never meets a zero weight.
#pragma once

#include <vector>

#include "engine/nn/scope.h"

namespace strata::nn {

// Output cell i is the sum over taps t of weight[t][i] * x[id[t][i]].
struct Taps {
  std::vector<std::vector<int64_t>> id;
  std::vector<std::vector<double>> weight;  // empty: one tap with weight 1
};
Value ApplyTaps(Value x, int axis, const Taps& taps);

// From `in` to `out` cells; `ratio` is the input's length that one output cell stands for.
Taps NearestTaps(int64_t in, int64_t out, double ratio, bool exact);
Taps LinearTaps(int64_t in, int64_t out, double ratio, bool align_corners);
// PyTorch: a = -0.75, cells beyond the edge repeat it. TensorFlow: a = -0.5, they drop out and the rest is normalised;
// fractions are multiples of 1/1024.
Taps BicubicTaps(int64_t in, int64_t out, double ratio, bool align_corners, bool tensorflow);

}  // namespace strata::nn
