#include "engine/kernels/thin_conv.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/thin_conv.cc"
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

// kPixels neighbours of one row times kVectors vectors of output channels from `o` on; the last vector has `last`.
template <int kPixels, int kVectors>
HWY_INLINE void Tile(const ThinConvArgs& g, int64_t row, int64_t column, int64_t o, size_t last) {
  const F d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), step = g.stride_x * g.channels;
  const M mask = hn::FirstN(d, last);
  V acc[kPixels][kVectors];
  for (int v = 0; v < kVectors; ++v) {
    const M m = v + 1 < kVectors ? hn::FirstN(d, static_cast<size_t>(lanes)) : mask;
    const V bias = g.bias == nullptr ? hn::Zero(d) : hn::MaskedLoad(m, d, g.bias + o + v * lanes);
    for (int p = 0; p < kPixels; ++p) acc[p][v] = bias;
  }
  const float* w = g.w + o;
  for (int64_t ky = 0; ky < g.window_y; ++ky) {
    const float* line = g.x + ((row * g.stride_y + ky * g.dilation_y) * g.x_columns + column * g.stride_x) * g.channels;
    for (int64_t kx = 0; kx < g.window_x; ++kx) {
      const float* cell = line + kx * g.dilation_x * g.channels;
      for (int64_t c = 0; c < g.channels; ++c, w += g.out) {
        V vw[kVectors];
        for (int v = 0; v + 1 < kVectors; ++v) vw[v] = hn::LoadU(d, w + v * lanes);
        vw[kVectors - 1] = hn::MaskedLoad(mask, d, w + (kVectors - 1) * lanes);
        for (int p = 0; p < kPixels; ++p) {
          const V vx = hn::Set(d, cell[p * step + c]);
          for (int v = 0; v < kVectors; ++v) acc[p][v] = hn::MulAdd(vx, vw[v], acc[p][v]);
        }
      }
    }
  }
  float* y = g.y + (row * g.columns + column) * g.out + o;
  for (int p = 0; p < kPixels; ++p, y += g.out) {
    for (int v = 0; v < kVectors; ++v) {
      const V r = g.relu ? hn::IfThenZeroElse(hn::Le(acc[p][v], hn::Zero(d)), acc[p][v]) : acc[p][v];
      if (v + 1 < kVectors) {
        hn::StoreU(r, d, y + v * lanes);
      } else {
        hn::BlendedStore(r, mask, d, y + v * lanes);
      }
    }
  }
}

template <int kVectors>
HWY_INLINE void Row(const ThinConvArgs& g, int64_t row, int64_t o, size_t last) {
  constexpr int kPixels = 12 / kVectors;
  int64_t column = 0;
  for (; column + kPixels <= g.columns; column += kPixels) Tile<kPixels, kVectors>(g, row, column, o, last);
  for (; column + 2 <= g.columns; column += 2) Tile<2, kVectors>(g, row, column, o, last);
  if (column < g.columns) Tile<1, kVectors>(g, row, column, o, last);
}

void Convolve(const ThinConvArgs& g) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(F()));
  for (int64_t row = 0; row < g.rows; ++row) {
    int64_t o = 0;
    for (; o + lanes < g.out; o += 2 * lanes) {
      const int64_t rest = g.out - o - lanes;
      Row<2>(g, row, o, static_cast<size_t>(rest < lanes ? rest : lanes));
    }
    if (o < g.out) Row<1>(g, row, o, static_cast<size_t>(g.out - o));
  }
}

ThinConvFn ChooseThinConv() { return &Convolve; }

}  // namespace HWY_NAMESPACE
}  // namespace strata
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace strata {
HWY_EXPORT(ChooseThinConv);
ThinConvFn GetThinConv() { return HWY_DYNAMIC_DISPATCH(ChooseThinConv)(); }
}  // namespace strata
#endif
