// Products too small for a library call, and products of few rows.
#pragma once

#include <cstdint>

namespace strata {

// y[m, n] = a[m, k] b[k, n] (+ bias[n]) (+ residual[m, n]) (then max(0, .)), all single precision. Element (i, p) of a
// is a[i * a_row + p * a_column], element (p, j) of b is b[p * b_row + j * b_column] with one of the two strides 1.
// `pack` holds PackSize() floats; y has `n` columns.
struct SmallMatMulArgs {
  const float* a;
  const float* b;
  const float* bias;      // may be null
  bool one_bias;          // bias[0] is added everywhere
  const float* residual;  // of y's shape; may be null
  float* y;
  float* pack;
  int64_t m, k, n;
  int64_t a_row, a_column, b_row, b_column;
  bool relu;
};
using SmallMatMulFn = void (*)(const SmallMatMulArgs& args);

SmallMatMulFn GetSmallMatMul();

// Whether the elements are computed as dot products along k: of few rows and a transposed b.
inline bool IsOfDots(const SmallMatMulArgs& g) { return g.b_column != 1 && g.a_column == 1 && g.m <= 2; }

// Floats of packing memory that a product needs.
inline int64_t PackSize(const SmallMatMulArgs& g) {
  return g.b_column != 1 && !IsOfDots(g) ? g.k * ((g.n + 15) / 16 * 16) : 0;
}

}  // namespace strata
