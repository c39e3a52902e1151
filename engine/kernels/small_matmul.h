// Products too small for a library call, and products of few rows.
#pragma once

#include <cstdint>

namespace strata {

// y[m, n] = a[m, k] b[k, n] (+ bias[n]) (then max(0, .)), all single precision. Element (i, p) of a is a[i * a_row + p
// * a_column], element (p, j) of b is b[p * b_row + j * b_column] with one of the two strides 1. `pack` holds
// PackSize() floats; y has `n` columns.
struct SmallMatMulArgs {
  const float* a;
  const float* b;
  const float* bias;  // may be null
  bool one_bias;      // bias[0] is added everywhere
  float* y;
  float* pack;
  int64_t m, k, n;
  int64_t a_row, a_column, b_row, b_column;
  bool relu;
};
using SmallMatMulFn = void (*)(const SmallMatMulArgs& args);

SmallMatMulFn GetSmallMatMul();

// Floats of packing memory that a product needs.
inline int64_t PackSize(int64_t m, int64_t k, int64_t n, bool b_transposed) {
  return b_transposed && m > 2 ? k * ((n + 15) / 16 * 16) : 0;
}

}  // namespace strata
