// Winograd's minimal filtering F(4x4, 3x3): a tile of 4 x 4 results of a 3 x 3 convolution takes 36 multiplications a
// channel pair instead of 144.
//
//   y = A^T [(G g G^T) * (B^T d B)] A     d: 6 x 6 inputs, g: 3 x 3 weights, *: summed over input channels
//
// (A. Lavin, S. Gray: Fast Algorithms for Convolutional Neural Networks, 2015; Cook-Toom's construction). The points
// are 0, 3/4, -3/4, 3/2, -3/2 and infinity, and not the usual 0, 1, -1, 2, -2: close to each other in magnitude, they
// lose few digits. Behind a relu, errors are those of the direct sum (measured against double: 0.7e-6 of the largest
// result; 2.7e-6 with the usual points), elsewhere up to 2e-6. An input that is not finite makes all results of its
// tiles NaN.
#pragma once

#include <cstdint>

namespace strata {

constexpr int kWinogradPoints = 36;

// Where the weights are: element (ky, kx, i, o) at ky * y + kx * x + i * in + o * out.
struct WinogradStrides {
  int64_t y, x, in, out;
};

struct WinogradOps {
  // Transforms of a tile. Point p of channel c stands at p * step + c; `cells` are pointers to a pixel's channels.
  void (*input)(float* v, int64_t step, const float* const* cells, int64_t channels);   // B^T d B of 6 x 6 cells
  void (*spread)(float* z, int64_t step, const float* const* cells, int64_t channels);  // A dy A^T of 4 x 4 cells
  // A^T m A into 4 x 4 cells (null: beyond the edge), plus bias[c] and residual[cell][c] (either may be null), then
  // max(0, .) where NaN stays.
  void (*output)(float* const* cells, const float* m, int64_t step, int64_t channels, const float* bias,
                 const float* const* residual, bool relu);
  // u = G g G^T, and dw = G^T u G; point p of channels i and o stands at p * step + i * out + o.
  void (*weights)(float* u, int64_t step, const float* w, const WinogradStrides& at, int64_t in, int64_t out);
  void (*weights_grad)(float* dw, const float* u, int64_t step, const WinogradStrides& at, int64_t in, int64_t out);
  // y[r * y_row + j] = sum over k of x[r * x_row + k * x_depth] w[k * w_row + j] (+ what was there).
  void (*product)(float* y, int64_t y_row, const float* x, int64_t x_row, int64_t x_depth, const float* w,
                  int64_t w_row, int64_t rows, int64_t depth, int64_t columns, bool add);
};
const WinogradOps& GetWinogradOps();

}  // namespace strata
