// Transposing squares of 32-bit elements in registers.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace strata {

// y[i * y_row + j] = x[i + j * x_column] for i, j < 8.
inline void Transpose8x8(const uint32_t* x, uint32_t* y, int64_t x_column, int64_t y_row) {
  __m256 r[8], t[8];
  for (int j = 0; j < 8; ++j) r[j] = _mm256_loadu_ps(reinterpret_cast<const float*>(x + j * x_column));
  for (int j = 0; j < 8; j += 2) {
    t[j] = _mm256_unpacklo_ps(r[j], r[j + 1]);
    t[j + 1] = _mm256_unpackhi_ps(r[j], r[j + 1]);
  }
  for (int j = 0; j < 8; j += 4) {
    r[j] = _mm256_shuffle_ps(t[j], t[j + 2], 0x44);
    r[j + 1] = _mm256_shuffle_ps(t[j], t[j + 2], 0xEE);
    r[j + 2] = _mm256_shuffle_ps(t[j + 1], t[j + 3], 0x44);
    r[j + 3] = _mm256_shuffle_ps(t[j + 1], t[j + 3], 0xEE);
  }
  for (int j = 0; j < 4; ++j) {
    _mm256_storeu_ps(reinterpret_cast<float*>(y + j * y_row), _mm256_permute2f128_ps(r[j], r[j + 4], 0x20));
    _mm256_storeu_ps(reinterpret_cast<float*>(y + (j + 4) * y_row), _mm256_permute2f128_ps(r[j], r[j + 4], 0x31));
  }
}

}  // namespace strata
