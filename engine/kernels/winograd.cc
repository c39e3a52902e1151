#include "engine/kernels/winograd.h"

#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/winograd.cc"
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

// The points 0, a, -a, b, -b and infinity.
constexpr float kA = 0.75f, kB = 1.5f;
constexpr float kA2 = kA * kA, kB2 = kB * kB, kA3 = kA2 * kA, kB3 = kB2 * kB;

HWY_INLINE V Times(V x, float factor) { return hn::Mul(x, hn::Set(F(), factor)); }
HWY_INLINE V PlusTimes(V sum, V x, float factor) { return hn::MulAdd(x, hn::Set(F(), factor), sum); }

// One axis of each transform: reads in[0], in[kStep], ..., writes out[0], out[kStep], ...

// B^T: the coefficients of Lagrange's polynomials.
template <int kStep>
HWY_INLINE void InputAxis(const V* d, V* v) {
  const V d1 = d[kStep], d2 = d[2 * kStep], d3 = d[3 * kStep], d4 = d[4 * kStep];
  const V even_a = PlusTimes(d4, d2, -kB2), odd_a = Times(PlusTimes(d3, d1, -kB2), kA);
  const V even_b = PlusTimes(d4, d2, -kA2), odd_b = Times(PlusTimes(d3, d1, -kA2), kB);
  v[0] = PlusTimes(PlusTimes(d4, d2, -(kA2 + kB2)), d[0], kA2 * kB2);
  v[kStep] = hn::Add(even_a, odd_a);
  v[2 * kStep] = hn::Sub(even_a, odd_a);
  v[3 * kStep] = hn::Add(even_b, odd_b);
  v[4 * kStep] = hn::Sub(even_b, odd_b);
  v[5 * kStep] = PlusTimes(PlusTimes(d[5 * kStep], d3, -(kA2 + kB2)), d1, kA2 * kB2);
}

// A^T: powers of the points.
template <int kStep>
HWY_INLINE void OutputAxis(const V* m, V* y) {
  const V sum_a = hn::Add(m[kStep], m[2 * kStep]), difference_a = hn::Sub(m[kStep], m[2 * kStep]);
  const V sum_b = hn::Add(m[3 * kStep], m[4 * kStep]), difference_b = hn::Sub(m[3 * kStep], m[4 * kStep]);
  y[0] = hn::Add(m[0], hn::Add(sum_a, sum_b));
  y[kStep] = PlusTimes(Times(difference_a, kA), difference_b, kB);
  y[2 * kStep] = PlusTimes(Times(sum_a, kA2), sum_b, kB2);
  y[3 * kStep] = PlusTimes(PlusTimes(m[5 * kStep], difference_a, kA3), difference_b, kB3);
}

// A.
template <int kStep>
HWY_INLINE void SpreadAxis(const V* y, V* z) {
  const V y1 = y[kStep], y2 = y[2 * kStep], y3 = y[3 * kStep];
  const V even_a = PlusTimes(y[0], y2, kA2), odd_a = PlusTimes(Times(y1, kA), y3, kA3);
  const V even_b = PlusTimes(y[0], y2, kB2), odd_b = PlusTimes(Times(y1, kB), y3, kB3);
  z[0] = y[0];
  z[kStep] = hn::Add(even_a, odd_a);
  z[2 * kStep] = hn::Sub(even_a, odd_a);
  z[3 * kStep] = hn::Add(even_b, odd_b);
  z[4 * kStep] = hn::Sub(even_b, odd_b);
  z[5 * kStep] = y3;
}

// G: values of the filter's polynomial at the points, over what B^T left out.
constexpr float kOver0 = 1 / (kA2 * kB2), kOverA = 1 / (2 * kA2 * (kA2 - kB2)), kOverB = 1 / (2 * kB2 * (kB2 - kA2));
template <int kStep>
HWY_INLINE void WeightsAxis(const V* g, V* u) {
  const V g1 = g[kStep], g2 = g[2 * kStep];
  const V even_a = Times(PlusTimes(g[0], g2, kA2), kOverA), odd_a = Times(g1, kA * kOverA);
  const V even_b = Times(PlusTimes(g[0], g2, kB2), kOverB), odd_b = Times(g1, kB * kOverB);
  u[0] = Times(g[0], kOver0);
  u[kStep] = hn::Add(even_a, odd_a);
  u[2 * kStep] = hn::Sub(even_a, odd_a);
  u[3 * kStep] = hn::Add(even_b, odd_b);
  u[4 * kStep] = hn::Sub(even_b, odd_b);
  u[5 * kStep] = g2;
}

// G^T.
template <int kStep>
HWY_INLINE void WeightsGradAxis(const V* u, V* g) {
  const V sum_a = Times(hn::Add(u[kStep], u[2 * kStep]), kOverA),
          sum_b = Times(hn::Add(u[3 * kStep], u[4 * kStep]), kOverB);
  const V odd_a = Times(hn::Sub(u[kStep], u[2 * kStep]), kA * kOverA);
  g[0] = hn::Add(Times(u[0], kOver0), hn::Add(sum_a, sum_b));
  g[kStep] = PlusTimes(odd_a, hn::Sub(u[3 * kStep], u[4 * kStep]), kB * kOverB);
  g[2 * kStep] = PlusTimes(PlusTimes(u[5 * kStep], sum_a, kA2), sum_b, kB2);
}

// One vector of channels: all lanes, or the first few of them. Masked loads and stores are slow: few vectors need them.
struct Whole {
  static HWY_INLINE V Load(const float* p) { return hn::LoadU(F(), p); }
  static HWY_INLINE void Store(V x, float* p) { hn::StoreU(x, F(), p); }
};
struct Part {
  M mask;
  HWY_INLINE V Load(const float* p) const { return hn::MaskedLoad(mask, F(), p); }
  HWY_INLINE void Store(V x, float* p) const { hn::BlendedStore(x, mask, F(), p); }
};

// f(access, first) for each vector of channels.
template <typename Fn>
HWY_INLINE void ForVectors(int64_t channels, Fn f) {
  const F d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) f(Whole(), c);
  if (c < channels) f(Part{hn::FirstN(d, static_cast<size_t>(channels - c))}, c);
}

void Input(float* v, int64_t step, const float* const* cells, int64_t channels) {
  ForVectors(channels, [&](auto access, int64_t c) HWY_ATTR {
    V half[36];
    for (int x = 0; x < 6; ++x) {
      V column[6], made[6];
      for (int y = 0; y < 6; ++y) column[y] = access.Load(cells[6 * y + x] + c);
      InputAxis<1>(column, made);
      for (int y = 0; y < 6; ++y) half[6 * y + x] = made[y];
    }
    for (int y = 0; y < 6; ++y) {
      V made[6];
      InputAxis<1>(half + 6 * y, made);
      for (int x = 0; x < 6; ++x) access.Store(made[x], v + (6 * y + x) * step + c);
    }
  });
}

void Spread(float* z, int64_t step, const float* const* cells, int64_t channels) {
  ForVectors(channels, [&](auto access, int64_t c) HWY_ATTR {
    V half[24];
    for (int x = 0; x < 4; ++x) {
      V column[4], made[6];
      for (int y = 0; y < 4; ++y) column[y] = access.Load(cells[4 * y + x] + c);
      SpreadAxis<1>(column, made);
      for (int y = 0; y < 6; ++y) half[4 * y + x] = made[y];
    }
    for (int y = 0; y < 6; ++y) {
      V made[6];
      SpreadAxis<1>(half + 4 * y, made);
      for (int x = 0; x < 6; ++x) access.Store(made[x], z + (6 * y + x) * step + c);
    }
  });
}

void Output(float* const* cells, const float* m, int64_t step, int64_t channels, const float* bias,
            const float* const* residual, bool relu) {
  ForVectors(channels, [&](auto access, int64_t c) HWY_ATTR {
    const V zero = hn::Zero(F()), offset = bias == nullptr ? zero : access.Load(bias + c);
    V half[24];
    for (int x = 0; x < 6; ++x) {
      V column[6], made[4];
      for (int y = 0; y < 6; ++y) column[y] = access.Load(m + (6 * y + x) * step + c);
      OutputAxis<1>(column, made);
      for (int y = 0; y < 4; ++y) half[6 * y + x] = made[y];
    }
    for (int y = 0; y < 4; ++y) {
      V made[4];
      OutputAxis<1>(half + 6 * y, made);
      for (int x = 0; x < 4; ++x) {
        float* to = cells[4 * y + x];
        if (to == nullptr) continue;
        V r = hn::Add(made[x], offset);
        if (residual != nullptr) r = hn::Add(r, access.Load(residual[4 * y + x] + c));
        if (relu) r = hn::IfThenZeroElse(hn::Le(r, zero), r);
        access.Store(r, to + c);
      }
    }
  });
}

void Weights(float* u, int64_t step, const float* w, const WinogradStrides& at, int64_t in, int64_t out) {
  const F d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN float taps[9][HWY_MAX_BYTES / sizeof(float)] = {};
  for (int64_t i = 0; i < in; ++i) {
    for (int64_t o = 0; o < out; o += lanes) {
      const int64_t count = out - o < lanes ? out - o : lanes;
      for (int64_t l = 0; l < count; ++l) {
        const float* from = w + i * at.in + (o + l) * at.out;
        for (int k = 0; k < 9; ++k) taps[k][l] = from[k / 3 * at.y + k % 3 * at.x];
      }
      V g[9], half[18], result[36];
      for (int k = 0; k < 9; ++k) g[k] = hn::Load(d, taps[k]);
      for (int x = 0; x < 3; ++x) WeightsAxis<3>(g + x, half + x);
      for (int y = 0; y < 6; ++y) WeightsAxis<1>(half + 3 * y, result + 6 * y);
      const M m = hn::FirstN(d, static_cast<size_t>(count));
      for (int p = 0; p < kWinogradPoints; ++p) hn::BlendedStore(result[p], m, d, u + p * step + i * out + o);
    }
  }
}

void WeightsGrad(float* dw, const float* u, int64_t step, const WinogradStrides& at, int64_t in, int64_t out) {
  const F d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN float taps[9][HWY_MAX_BYTES / sizeof(float)];
  for (int64_t i = 0; i < in; ++i) {
    for (int64_t o = 0; o < out; o += lanes) {
      const int64_t count = out - o < lanes ? out - o : lanes;
      const M m = hn::FirstN(d, static_cast<size_t>(count));
      V s[36], half[18], g[9];
      for (int p = 0; p < kWinogradPoints; ++p) s[p] = hn::MaskedLoad(m, d, u + p * step + i * out + o);
      for (int x = 0; x < 6; ++x) {
        V narrow[18];
        WeightsGradAxis<6>(s + x, narrow);
        for (int y = 0; y < 3; ++y) half[6 * y + x] = narrow[6 * y];
      }
      for (int y = 0; y < 3; ++y) WeightsGradAxis<1>(half + 6 * y, g + 3 * y);
      for (int k = 0; k < 9; ++k) hn::Store(g[k], d, taps[k]);
      for (int64_t l = 0; l < count; ++l) {
        float* to = dw + i * at.in + (o + l) * at.out;
        for (int k = 0; k < 9; ++k) to[k / 3 * at.y + k % 3 * at.x] = taps[k][l];
      }
    }
  }
}

// kRows rows times kVectors vectors of columns, held in registers; the last vector has `last` columns.
template <int kRows, int kVectors>
HWY_INLINE void ProductTile(float* y, int64_t y_row, const float* x, int64_t x_row, int64_t x_depth, const float* w,
                            int64_t w_row, int64_t depth, M last, bool add) {
  const F d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  V acc[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      const M m = v + 1 < kVectors ? hn::FirstN(d, static_cast<size_t>(lanes)) : last;
      acc[r][v] = add ? hn::MaskedLoad(m, d, y + r * y_row + v * lanes) : hn::Zero(d);
    }
  }
  // Four rows of x share a pointer: all of them would not find registers.
  constexpr int kGroups = (kRows + 3) / 4;
  const float* group[kGroups];
  for (int i = 0; i < kGroups; ++i) group[i] = x + 4 * i * x_row;
  for (int64_t k = 0; k < depth; ++k, w += w_row) {
    V vw[kVectors];
    for (int v = 0; v + 1 < kVectors; ++v) vw[v] = hn::LoadU(d, w + v * lanes);
    vw[kVectors - 1] = hn::MaskedLoad(last, d, w + (kVectors - 1) * lanes);
    for (int r = 0; r < kRows; ++r) {
      const V vx = hn::Set(d, group[r / 4][r % 4 * x_row]);
      for (int v = 0; v < kVectors; ++v) acc[r][v] = hn::MulAdd(vx, vw[v], acc[r][v]);
    }
    for (int i = 0; i < kGroups; ++i) group[i] += x_depth;
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v + 1 < kVectors; ++v) hn::StoreU(acc[r][v], d, y + r * y_row + v * lanes);
    hn::BlendedStore(acc[r][kVectors - 1], last, d, y + r * y_row + (kVectors - 1) * lanes);
  }
}

// As many rows as there are registers for.
#if HWY_TARGET <= HWY_AVX3
constexpr int kRowsOfOne = 16, kRowsOfTwo = 12;
#else
constexpr int kRowsOfOne = 8, kRowsOfTwo = 6;
#endif

template <int kVectors>
HWY_INLINE void ProductPanel(float* y, int64_t y_row, const float* x, int64_t x_row, int64_t x_depth, const float* w,
                             int64_t w_row, int64_t rows, int64_t depth, M last, bool add) {
  constexpr int kRows = kVectors == 1 ? kRowsOfOne : kRowsOfTwo;
  int64_t r = 0;
  const auto tile = [&](auto count) HWY_ATTR {
    ProductTile<decltype(count)::value, kVectors>(y + r * y_row, y_row, x + r * x_row, x_row, x_depth, w, w_row, depth,
                                                  last, add);
    r += decltype(count)::value;
  };
  while (r + kRows <= rows) tile(std::integral_constant<int, kRows>());
  while (r + 4 <= rows) tile(std::integral_constant<int, 4>());
  while (r < rows) tile(std::integral_constant<int, 1>());
}

void Product(float* y, int64_t y_row, const float* x, int64_t x_row, int64_t x_depth, const float* w, int64_t w_row,
             int64_t rows, int64_t depth, int64_t columns, bool add) {
  const F d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t j = 0;
  for (; j + lanes < columns; j += 2 * lanes) {
    const M last = hn::FirstN(d, static_cast<size_t>(columns - j - lanes));
    ProductPanel<2>(y + j, y_row, x, x_row, x_depth, w + j, w_row, rows, depth, last, add);
  }
  if (j < columns) {
    const M last = hn::FirstN(d, static_cast<size_t>(columns - j));
    ProductPanel<1>(y + j, y_row, x, x_row, x_depth, w + j, w_row, rows, depth, last, add);
  }
}

const WinogradOps& ChooseWinogradOps() {
  static constexpr WinogradOps kOps{&Input, &Spread, &Output, &Weights, &WeightsGrad, &Product};
  return kOps;
}

}  // namespace HWY_NAMESPACE
}  // namespace strata
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace strata {
HWY_EXPORT(ChooseWinogradOps);
const WinogradOps& GetWinogradOps() { return HWY_DYNAMIC_DISPATCH(ChooseWinogradOps)(); }
}  // namespace strata
#endif
