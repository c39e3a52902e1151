// Convolutions over images of few channels, as first layers have: too thin for a library whose products run over
// channels. One sample of two spatial axes, channels last.
#pragma once

#include <cstdint>

namespace strata {

// y[row, column, o] = sum x[row * stride_y + ky * dilation_y, column * stride_x + kx * dilation_x, c] w[ky, kx, c, o]
// (+ bias[o]), without padding: `x` holds the padded sample. All dense.
struct ThinConvArgs {
  const float* x;
  const float* w;
  const float* bias;  // may be null
  float* y;
  int64_t x_columns, channels;  // of x
  int64_t rows, columns, out;   // of y
  int64_t window_y, window_x, stride_y, stride_x, dilation_y, dilation_x;
  bool relu;  // max(0, .); a NaN stays
};
using ThinConvFn = void (*)(const ThinConvArgs& args);

ThinConvFn GetThinConv();

}  // namespace strata
