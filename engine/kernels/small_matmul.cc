#include "engine/kernels/small_matmul.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/small_matmul.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The per-target part.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace strata {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;
using V = hn::Vec<F>;
using M = hn::Mask<F>;

// One tile of kRows x kVectors accumulators. The last vector has `last` columns.
template <int kRows, int kVectors>
HWY_INLINE void Tile(const SmallMatMulArgs& g, const float* b, int64_t b_row, int64_t row, int64_t column,
                     size_t last) {
  const F d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const M mask = hn::FirstN(d, last);
  V acc[kRows][kVectors];
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kVectors; ++v) acc[i][v] = hn::Zero(d);
  }
  const float* a = g.a + row * g.a_row;
  b += column;
  for (int64_t p = 0; p < g.k; ++p, b += b_row, a += g.a_column) {
    V vb[kVectors];
    for (int v = 0; v + 1 < kVectors; ++v) vb[v] = hn::LoadU(d, b + v * lanes);
    vb[kVectors - 1] = hn::MaskedLoad(mask, d, b + (kVectors - 1) * lanes);
    for (int i = 0; i < kRows; ++i) {
      const V va = hn::Set(d, a[i * g.a_row]);
      for (int v = 0; v < kVectors; ++v) acc[i][v] = hn::MulAdd(va, vb[v], acc[i][v]);
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    const M m = v + 1 < kVectors ? hn::FirstN(d, static_cast<size_t>(lanes)) : mask;
    const int64_t at = column + v * lanes;
    const V bias = g.bias == nullptr ? hn::Zero(d)
                   : g.one_bias      ? hn::Set(d, g.bias[0])
                                     : hn::MaskedLoad(m, d, g.bias + at);
    for (int i = 0; i < kRows; ++i) {
      V y = hn::Add(acc[i][v], bias);
      if (g.residual != nullptr) y = hn::Add(y, hn::MaskedLoad(m, d, g.residual + (row + i) * g.n + at));
      if (g.relu) y = hn::IfThenZeroElse(hn::Le(y, hn::Zero(d)), y);
      hn::BlendedStore(y, m, d, g.y + (row + i) * g.n + at);
    }
  }
}

template <int kVectors>
HWY_INLINE void Strip(const SmallMatMulArgs& g, const float* b, int64_t b_row, int64_t column, size_t last) {
  int64_t row = 0;
  for (; row + 6 <= g.m; row += 6) Tile<6, kVectors>(g, b, b_row, row, column, last);
  for (; row + 4 <= g.m; row += 4) Tile<4, kVectors>(g, b, b_row, row, column, last);
  for (; row < g.m; ++row) Tile<1, kVectors>(g, b, b_row, row, column, last);
}

// Four columns of a transposed b at a time: dot products along k.
HWY_INLINE void Dots(const SmallMatMulArgs& g) {
  const F d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const M mask = hn::FirstN(d, static_cast<size_t>(g.k % lanes));
  for (int64_t row = 0; row < g.m; ++row) {
    const float* a = g.a + row * g.a_row;
    for (int64_t j = 0; j < g.n; j += 4) {
      const int64_t count = g.n - j < 4 ? g.n - j : 4;
      const float* b[4];
      for (int64_t c = 0; c < 4; ++c) b[c] = g.b + (c < count ? j + c : j) * g.b_column;
      V s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
      int64_t p = 0;
      for (; p + lanes <= g.k; p += lanes) {
        const V va = hn::LoadU(d, a + p);
        s0 = hn::MulAdd(va, hn::LoadU(d, b[0] + p), s0);
        s1 = hn::MulAdd(va, hn::LoadU(d, b[1] + p), s1);
        s2 = hn::MulAdd(va, hn::LoadU(d, b[2] + p), s2);
        s3 = hn::MulAdd(va, hn::LoadU(d, b[3] + p), s3);
      }
      if (p < g.k) {
        const V va = hn::MaskedLoad(mask, d, a + p);
        s0 = hn::MulAdd(va, hn::MaskedLoad(mask, d, b[0] + p), s0);
        s1 = hn::MulAdd(va, hn::MaskedLoad(mask, d, b[1] + p), s1);
        s2 = hn::MulAdd(va, hn::MaskedLoad(mask, d, b[2] + p), s2);
        s3 = hn::MulAdd(va, hn::MaskedLoad(mask, d, b[3] + p), s3);
      }
      const float sums[4] = {hn::GetLane(hn::SumOfLanes(d, s0)), hn::GetLane(hn::SumOfLanes(d, s1)),
                             hn::GetLane(hn::SumOfLanes(d, s2)), hn::GetLane(hn::SumOfLanes(d, s3))};
      for (int64_t c = 0; c < count; ++c) {
        const float y = sums[c] + (g.bias != nullptr ? g.bias[g.one_bias ? 0 : j + c] : 0.0f) +
                        (g.residual != nullptr ? g.residual[row * g.n + j + c] : 0.0f);
        g.y[row * g.n + j + c] = g.relu && y <= 0 ? 0.0f : y;
      }
    }
  }
}

void Multiply(const SmallMatMulArgs& g) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F()));
  const float* b = g.b;
  int64_t b_row = g.b_row;
  if (g.b_column != 1) {
    if (IsOfDots(g)) return Dots(g);
    b_row = (g.n + 15) / 16 * 16;
    for (int64_t j = 0; j < g.n; ++j) {
      const float* from = g.b + j * g.b_column;
      for (int64_t p = 0; p < g.k; ++p) g.pack[p * b_row + j] = from[p * g.b_row];
    }
    b = g.pack;
  }
  int64_t column = 0;
  const size_t whole = static_cast<size_t>(lanes);
  if (g.m == 1) {
    for (; column + 8 * lanes <= g.n; column += 8 * lanes) Tile<1, 8>(g, b, b_row, 0, column, whole);
  }
  for (; column + 2 * lanes <= g.n; column += 2 * lanes) Strip<2>(g, b, b_row, column, whole);
  for (; column < g.n; column += lanes) {
    Strip<1>(g, b, b_row, column, static_cast<size_t>(g.n - column < lanes ? g.n - column : lanes));
  }
}

SmallMatMulFn Choose() { return &Multiply; }

}  // namespace HWY_NAMESPACE
}  // namespace strata
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace strata {
HWY_EXPORT(Choose);
SmallMatMulFn GetSmallMatMul() { return HWY_DYNAMIC_DISPATCH(Choose)(); }
}  // namespace strata
#endif
