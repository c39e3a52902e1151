#include "engine/kernels/vector_ops.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/vector_ops.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The per-target part.
#include "engine/kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace strata {
namespace HWY_NAMESPACE {

using M = hn::Mask<F>;

HWY_INLINE V FromMask(M m) { return hn::IfThenElseZero(m, hn::Set(F(), 1.0f)); }
HWY_INLINE M ToMask(V x) { return hn::Ne(x, hn::Zero(F())); }

// Loops over whole vectors, then the masked rest. kOperands of a, b, c are loaded; those of kSingle are one number.
template <int kOperands, int kSingle, typename Fn>
HWY_INLINE void Apply(float* y, const float* a, const float* b, const float* c, size_t n, Fn f) {
  const F d;
  const size_t lanes = hn::Lanes(d);
  const V zero = hn::Zero(d);
  const V one_a = (kSingle & 1) != 0 ? hn::Set(d, *a) : zero;
  const V one_b = (kSingle & 2) != 0 ? hn::Set(d, *b) : zero;
  const V one_c = (kSingle & 4) != 0 ? hn::Set(d, *c) : zero;
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V va = (kSingle & 1) != 0 ? one_a : hn::LoadU(d, a + i);
    const V vb = kOperands < 2 || (kSingle & 2) != 0 ? one_b : hn::LoadU(d, b + i);
    const V vc = kOperands < 3 || (kSingle & 4) != 0 ? one_c : hn::LoadU(d, c + i);
    hn::StoreU(f(va, vb, vc), d, y + i);
  }
  if (i == n) return;
  const M m = hn::FirstN(d, n - i);
  const V va = (kSingle & 1) != 0 ? one_a : hn::MaskedLoad(m, d, a + i);
  const V vb = kOperands < 2 || (kSingle & 2) != 0 ? one_b : hn::MaskedLoad(m, d, b + i);
  const V vc = kOperands < 3 || (kSingle & 4) != 0 ? one_c : hn::MaskedLoad(m, d, c + i);
  hn::BlendedStore(f(va, vb, vc), m, d, y + i);
}

#define STRATA_BLOCK(name, operands, expression)                                  \
  template <int kSingle = 0>                                                      \
  void name(float* y, const float* a, const float* b, const float* c, size_t n) { \
    Apply<operands, kSingle>(y, a, b, c, n, [](V x, V z, V w) HWY_ATTR {          \
      (void)z;                                                                    \
      (void)w;                                                                    \
      return expression;                                                          \
    });                                                                           \
  }

STRATA_BLOCK(Neg, 1, hn::Neg(x))
STRATA_BLOCK(Abs, 1, hn::Abs(x))
STRATA_BLOCK(Sign, 1, KeepNaN(x, hn::IfThenElse(ToMask(x), hn::CopySign(hn::Set(F(), 1.0f), x), x)))
STRATA_BLOCK(Exp, 1, ExpV(x))
STRATA_BLOCK(Expm1, 1, Expm1V(x))
STRATA_BLOCK(Log, 1, LogV(x))
STRATA_BLOCK(Log1p, 1, Log1pV(x))
STRATA_BLOCK(Sqrt, 1, hn::Sqrt(x))
STRATA_BLOCK(Sigmoid, 1, SigmoidV(x))
STRATA_BLOCK(Tanh, 1, TanhV(x))
STRATA_BLOCK(Erf, 1, ErfV(x))
STRATA_BLOCK(Floor, 1, hn::Floor(x))
STRATA_BLOCK(Not, 1, FromMask(hn::Eq(x, hn::Zero(F()))))
STRATA_BLOCK(IsFinite, 1, FromMask(hn::Lt(hn::Abs(x), hn::Set(F(), kInf))))
STRATA_BLOCK(Copy, 1, x)
STRATA_BLOCK(Add, 2, hn::Add(x, z))
STRATA_BLOCK(Sub, 2, hn::Sub(x, z))
STRATA_BLOCK(Mul, 2, hn::Mul(x, z))
STRATA_BLOCK(Div, 2, hn::Div(x, z))
STRATA_BLOCK(Max, 2, hn::IfThenElse(hn::Or(hn::Ge(x, z), hn::IsNaN(x)), x, z))
STRATA_BLOCK(Min, 2, hn::IfThenElse(hn::Or(hn::Le(x, z), hn::IsNaN(x)), x, z))
STRATA_BLOCK(Less, 2, FromMask(hn::Lt(x, z)))
STRATA_BLOCK(LessEqual, 2, FromMask(hn::Le(x, z)))
STRATA_BLOCK(Equal, 2, FromMask(hn::Eq(x, z)))
STRATA_BLOCK(And, 2, FromMask(hn::And(ToMask(x), ToMask(z))))
STRATA_BLOCK(Or, 2, FromMask(hn::Or(ToMask(x), ToMask(z))))
STRATA_BLOCK(Select, 3, hn::IfThenElse(ToMask(x), z, w))
STRATA_BLOCK(MulAdd, 3, hn::MulAdd(x, z, w))
STRATA_BLOCK(NegMulAdd, 3, hn::NegMulAdd(x, z, w))
STRATA_BLOCK(MulSub, 3, hn::MulSub(x, z, w))
STRATA_BLOCK(Relu, 1, hn::IfThenZeroElse(hn::Le(x, hn::Zero(F())), x))
STRATA_BLOCK(ReluGrad, 2, hn::IfThenZeroElse(hn::Le(x, hn::Zero(F())), z))
STRATA_BLOCK(SubMul, 3, hn::Mul(hn::Sub(x, z), w))
STRATA_BLOCK(SubSquare, 2, hn::Mul(hn::Sub(x, z), hn::Sub(x, z)))
STRATA_BLOCK(SubSquareAdd, 3, hn::MulAdd(hn::Sub(x, z), hn::Sub(x, z), w))
STRATA_BLOCK(Lerp, 3, hn::MulAdd(hn::Sub(x, w), z, w))
STRATA_BLOCK(LerpSquare, 3, hn::MulAdd(hn::MulSub(x, x, w), z, w))
STRATA_BLOCK(SqrtMulAdd, 3, hn::MulAdd(hn::Sqrt(x), z, w))
STRATA_BLOCK(SubDiv, 3, hn::Sub(w, hn::Div(x, z)))
#undef STRATA_BLOCK

// The library's pow knows every special case; powers that matter for speed are rewritten by passes.
void Pow(float* y, const float* a, const float* b, const float*, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = std::pow(a[i], b[i]);
}

void AddProductsAndValues(float* products, float* sums, const float* x, const float* y, size_t n) {
  const F d;
  const size_t lanes = hn::Lanes(d);
  const auto step = [&](size_t i, auto load, auto store) HWY_ATTR {
    const V v = load(x + i);
    store(hn::MulAdd(v, load(y + i), load(products + i)), products + i);
    store(hn::Add(v, load(sums + i)), sums + i);
  };
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    step(
        i, [](const float* from) HWY_ATTR { return hn::LoadU(F(), from); },
        [](V v, float* to) HWY_ATTR { hn::StoreU(v, F(), to); });
  }
  if (i == n) return;
  const M m = hn::FirstN(d, n - i);
  step(
      i, [m](const float* from) HWY_ATTR { return hn::MaskedLoad(m, F(), from); },
      [m](V v, float* to) HWY_ATTR { hn::BlendedStore(v, m, F(), to); });
}

// Folds f over the values in four independent accumulators, then lanes. `rest` stands for missing elements.
template <typename Load, typename Fold>
HWY_INLINE V Accumulate(size_t n, V start, Load load, Fold fold) {
  const F d;
  const size_t lanes = hn::Lanes(d);
  V s0 = start, s1 = start, s2 = start, s3 = start;
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = fold(s0, load(i));
    s1 = fold(s1, load(i + lanes));
    s2 = fold(s2, load(i + 2 * lanes));
    s3 = fold(s3, load(i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) s0 = fold(s0, load(i));
  if (i < n) {
    const M m = hn::FirstN(d, n - i);
    s1 = hn::IfThenElse(m, fold(s1, load(i, m)), s1);
  }
  return fold(fold(s0, s1), fold(s2, s3));
}

HWY_INLINE V SquareV(V x) { return hn::Mul(x, x); }

struct LoadOne {
  const float* x;
  HWY_INLINE V operator()(size_t i) const { return hn::LoadU(F(), x + i); }
  HWY_INLINE V operator()(size_t i, M m) const { return hn::MaskedLoad(m, F(), x + i); }
};
struct LoadProduct {
  const float *x, *y;
  HWY_INLINE V operator()(size_t i) const { return hn::Mul(hn::LoadU(F(), x + i), hn::LoadU(F(), y + i)); }
  HWY_INLINE V operator()(size_t i, M m) const {
    return hn::Mul(hn::MaskedLoad(m, F(), x + i), hn::MaskedLoad(m, F(), y + i));
  }
};

struct LoadDistance {
  const float *x, *y;
  HWY_INLINE V operator()(size_t i) const { return SquareV(hn::Sub(hn::LoadU(F(), x + i), hn::LoadU(F(), y + i))); }
  HWY_INLINE V operator()(size_t i, M m) const {
    return SquareV(hn::Sub(hn::MaskedLoad(m, F(), x + i), hn::MaskedLoad(m, F(), y + i)));
  }
};
struct LoadDistanceToOne {
  const float* x;
  V y;
  HWY_INLINE V operator()(size_t i) const { return SquareV(hn::Sub(hn::LoadU(F(), x + i), y)); }
  HWY_INLINE V operator()(size_t i, M m) const { return SquareV(hn::Sub(hn::MaskedLoad(m, F(), x + i), y)); }
};

struct FoldSum {
  HWY_INLINE V operator()(V a, V b) const { return hn::Add(a, b); }
};
struct FoldMax {
  HWY_INLINE V operator()(V a, V b) const { return hn::IfThenElse(hn::Or(hn::Ge(a, b), hn::IsNaN(a)), a, b); }
};
struct FoldMin {
  HWY_INLINE V operator()(V a, V b) const { return hn::IfThenElse(hn::Or(hn::Le(a, b), hn::IsNaN(a)), a, b); }
};

float Sum(const float* x, size_t n) {
  return hn::GetLane(hn::SumOfLanes(F(), Accumulate(n, hn::Zero(F()), LoadOne{x}, FoldSum())));
}

float Dot(const float* x, const float* y, size_t n) {
  return hn::GetLane(hn::SumOfLanes(F(), Accumulate(n, hn::Zero(F()), LoadProduct{x, y}, FoldSum())));
}

float Distance(const float* x, const float* y, size_t n) {
  return hn::GetLane(hn::SumOfLanes(F(), Accumulate(n, hn::Zero(F()), LoadDistance{x, y}, FoldSum())));
}

float DistanceToOne(const float* x, const float* y, size_t n) {
  const LoadDistanceToOne load{x, hn::Set(F(), *y)};
  return hn::GetLane(hn::SumOfLanes(F(), Accumulate(n, hn::Zero(F()), load, FoldSum())));
}

float DotAndSum(const float* x, const float* y, size_t n, float* sum) {
  const F d;
  const size_t lanes = hn::Lanes(d);
  V p0 = hn::Zero(d), p1 = p0, s0 = p0, s1 = p0;
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const V a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + i + lanes);
    p0 = hn::MulAdd(a, hn::LoadU(d, y + i), p0);
    p1 = hn::MulAdd(b, hn::LoadU(d, y + i + lanes), p1);
    s0 = hn::Add(a, s0);
    s1 = hn::Add(b, s1);
  }
  for (; i < n; i += lanes) {
    const M m = hn::FirstN(d, n - i);
    const V a = hn::MaskedLoad(m, d, x + i);
    p0 = hn::MulAdd(a, hn::MaskedLoad(m, d, y + i), p0);
    s0 = hn::Add(a, s0);
  }
  *sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(p0, p1)));
}

template <typename Fold>
HWY_INLINE float Extremum(const float* x, size_t n, float start) {
  const V v = Accumulate(n, hn::Set(F(), start), LoadOne{x}, Fold());
  HWY_ALIGN float lanes[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(v, F(), lanes);
  float best = lanes[0];
  for (size_t i = 1; i < hn::Lanes(F()); ++i) {
    const bool better = std::is_same_v<Fold, FoldMax> ? lanes[i] > best : lanes[i] < best;
    if (lanes[i] != lanes[i] || better) best = best != best ? best : lanes[i];
  }
  return best;
}
float MaxOf(const float* x, size_t n) { return Extremum<FoldMax>(x, n, -kInf); }
float MinOf(const float* x, size_t n) { return Extremum<FoldMin>(x, n, kInf); }

float ExpShiftSum(float* y, const float* x, float shift, size_t n) {
  const V s = hn::Set(F(), shift);
  Apply<1, 0>(y, x, nullptr, nullptr, n, [s](V v, V, V) HWY_ATTR { return ExpV(hn::Sub(v, s)); });
  return Sum(y, n);
}

void Affine(float* y, const float* x, float a, float b, size_t n) {
  const V va = hn::Set(F(), a), vb = hn::Set(F(), b);
  Apply<1, 0>(y, x, nullptr, nullptr, n, [va, vb](V v, V, V) HWY_ATTR { return hn::MulAdd(v, va, vb); });
}

template <bool kPositions>
HWY_INLINE void MaxOfVector(float* y, int32_t* position, const float* x, const int32_t* cells, size_t count,
                            size_t channels, M m) {
  const F d;
  const hn::RebindToSigned<F> di;
  V best = hn::MaskedLoad(m, d, x + static_cast<size_t>(cells[0]) * channels);
  auto at = hn::Set(di, cells[0]);
  for (size_t k = 1; k < count; ++k) {
    const V v = hn::MaskedLoad(m, d, x + static_cast<size_t>(cells[k]) * channels);
    // Not (best >= v): v is larger, or one of them is a NaN; the first NaN stays.
    const M better = hn::And(hn::Not(hn::Ge(best, v)), hn::Not(hn::IsNaN(best)));
    best = hn::IfThenElse(better, v, best);
    if (kPositions) at = hn::IfThenElse(hn::RebindMask(di, better), hn::Set(di, cells[k]), at);
  }
  hn::BlendedStore(best, m, d, y);
  if (kPositions) hn::BlendedStore(at, hn::RebindMask(di, m), di, position);
}

void MaxCells(float* y, int32_t* position, const float* x, const int32_t* cells, size_t count, size_t channels) {
  const F d;
  const size_t lanes = hn::Lanes(d);
  for (size_t c = 0; c < channels; c += lanes) {
    const M m = hn::FirstN(d, channels - c);
    if (position != nullptr) {
      MaxOfVector<true>(y + c, position + c, x + c, cells, count, channels, m);
    } else {
      MaxOfVector<false>(y + c, nullptr, x + c, cells, count, channels, m);
    }
  }
}

void MaxCellsGrad(float* dx, const float* dy, const int32_t* position, const int32_t* cells, size_t count,
                  size_t channels, bool set) {
  const F d;
  const hn::RebindToSigned<F> di;
  const size_t lanes = hn::Lanes(d);
  for (size_t c = 0; c < channels; c += lanes) {
    const M m = hn::FirstN(d, channels - c);
    const V g = hn::MaskedLoad(m, d, dy + c);
    const auto at = hn::MaskedLoad(hn::RebindMask(di, m), di, position + c);
    for (size_t k = 0; k < count; ++k) {
      float* to = dx + static_cast<size_t>(cells[k]) * channels + c;
      const V mine = hn::IfThenElseZero(hn::RebindMask(d, hn::Eq(at, hn::Set(di, cells[k]))), g);
      hn::BlendedStore(set ? mine : hn::Add(mine, hn::MaskedLoad(m, d, to)), m, d, to);
    }
  }
}

void SumCells(float* y, const float* x, const int32_t* cells, size_t count, size_t channels) {
  const F d;
  const size_t lanes = hn::Lanes(d);
  for (size_t c = 0; c < channels; c += lanes) {
    const M m = hn::FirstN(d, channels - c);
    V sum = hn::Zero(d);
    for (size_t k = 0; k < count; ++k)
      sum = hn::Add(sum, hn::MaskedLoad(m, d, x + static_cast<size_t>(cells[k]) * channels + c));
    hn::BlendedStore(sum, m, d, y + c);
  }
}

// GCC makes vector code of these with the baseline's instructions.
void FromBool(float* y, const uint8_t* x, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = x[i] != 0 ? 1.0f : 0.0f;
}
void ToBool(uint8_t* y, const float* x, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = x[i] != 0 ? 1 : 0;
}

using U = hn::RebindToUnsigned<F>;
using VU = hn::Vec<U>;

void ToBf16(uint16_t* y, const float* x, size_t n) {
  const F d;
  const U du;
  const hn::Rebind<uint16_t, U> narrow;
  const size_t lanes = hn::Lanes(d);
  const auto convert = [&](V v) HWY_ATTR {
    const VU bits = hn::BitCast(du, v), high = hn::ShiftRight<16>(bits);
    const VU rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(du, 0x7FFFu)), hn::And(high, hn::Set(du, 1u))));
    const VU quiet = hn::Or(high, hn::Set(du, 0x40u));
    return hn::TruncateTo(narrow, hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded));
  };
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(convert(hn::LoadU(d, x + i)), narrow, y + i);
  for (; i < n; ++i) {
    HWY_ALIGN float in[HWY_MAX_BYTES / sizeof(float)] = {x[i]};
    HWY_ALIGN uint16_t out[HWY_MAX_BYTES / sizeof(float)];
    hn::Store(convert(hn::Load(d, in)), narrow, out);
    y[i] = out[0];
  }
}

// The low and high halves of x * k.
HWY_INLINE void MultiplyWide(VU x, VU k, VU* low, VU* high) {
  const U d;
  const hn::RepartitionToWide<U> d64;
  const auto even = hn::MulEven(x, k);
  const auto odd = hn::MulEven(hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(d64, x))), k);
  *low = hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(odd)), hn::BitCast(d, even));
  *high = hn::OddEven(hn::BitCast(d, odd), hn::BitCast(d, hn::ShiftRight<32>(even)));
}

// Philox::Block of one counter a lane; `c` is the counter and becomes the result.
HWY_INLINE void PhiloxRounds(uint64_t key, VU c[4]) {
  const U d;
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  const VU m0 = hn::Set(d, 0xD2511F53u), m1 = hn::Set(d, 0xCD9E8D57u);
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    VU low0, high0, low1, high1;
    MultiplyWide(c[0], m0, &low0, &high0);
    MultiplyWide(c[2], m1, &low1, &high1);
    c[0] = hn::Xor(hn::Xor(high1, c[1]), hn::Set(d, k0));
    c[2] = hn::Xor(hn::Xor(high0, c[3]), hn::Set(d, k1));
    c[1] = low1;
    c[3] = low0;
  }
}

HWY_INLINE V ToUniformV(VU bits) {
  const hn::RebindToSigned<F> di;
  const auto top = hn::BitCast(di, hn::ShiftRight<8>(bits));  // below 2^24: exact as a float
  return hn::Mul(hn::ConvertTo(F(), top), hn::Set(F(), 0x1p-24f));
}

// Whole vectors of counters; the four numbers of a counter stand side by side.
void Uniform(float* y, uint64_t key, uint64_t first, uint64_t hi, size_t n) {
  const U d;
  const size_t lanes = hn::Lanes(d), step = 4 * lanes;
  HWY_ALIGN float rest[4 * HWY_MAX_BYTES / sizeof(float)];
  for (size_t base = 0; base < n; base += step) {
    const uint64_t counter = first + base / 4;
    const VU low = hn::Set(d, static_cast<uint32_t>(counter));
    VU c[4];
    c[0] = hn::Add(low, hn::Iota(d, 0));
    c[1] = hn::Set(d, static_cast<uint32_t>(counter >> 32));
    c[1] = hn::IfThenElse(hn::Lt(c[0], low), hn::Add(c[1], hn::Set(d, 1u)), c[1]);  // the carry
    c[2] = hn::Set(d, static_cast<uint32_t>(hi));
    c[3] = hn::Set(d, static_cast<uint32_t>(hi >> 32));
    PhiloxRounds(key, c);
    float* to = base + step <= n ? y + base : rest;
    hn::StoreInterleaved4(ToUniformV(c[0]), ToUniformV(c[1]), ToUniformV(c[2]), ToUniformV(c[3]), F(), to);
    if (to == rest) {
      for (size_t i = 0; i < n - base; ++i) y[base + i] = rest[i];
    }
  }
}

// Every combination of single operands but all of them.
#define STRATA_SINGLE2(name) \
  { nullptr, name<1>, name<2>, nullptr, nullptr, nullptr, nullptr, nullptr }
#define STRATA_SINGLE3(name) \
  { nullptr, name<1>, name<2>, name<3>, name<4>, name<5>, name<6>, nullptr }

const VectorOps* Table() {
  static constexpr BlockFn kSingles[][8] = {
      STRATA_SINGLE2(Add),    STRATA_SINGLE2(Sub),        STRATA_SINGLE2(Mul),        STRATA_SINGLE2(Div),
      STRATA_SINGLE2(Max),    STRATA_SINGLE2(Min),        STRATA_SINGLE3(MulAdd),     STRATA_SINGLE3(NegMulAdd),
      STRATA_SINGLE3(MulSub), STRATA_SINGLE3(SubMul),     STRATA_SINGLE2(SubSquare),  STRATA_SINGLE3(SubSquareAdd),
      STRATA_SINGLE3(Lerp),   STRATA_SINGLE3(LerpSquare), STRATA_SINGLE3(SqrtMulAdd), STRATA_SINGLE3(SubDiv)};
  static constexpr BlockOp kOps[] = {
      BlockOp::kAdd,    BlockOp::kSub,        BlockOp::kMul,        BlockOp::kDiv,
      BlockOp::kMax,    BlockOp::kMin,        BlockOp::kMulAdd,     BlockOp::kNegMulAdd,
      BlockOp::kMulSub, BlockOp::kSubMul,     BlockOp::kSubSquare,  BlockOp::kSubSquareAdd,
      BlockOp::kLerp,   BlockOp::kLerpSquare, BlockOp::kSqrtMulAdd, BlockOp::kSubDiv};
  static const VectorOps kTable = [] {
    VectorOps t = {
        {Neg<>,      Abs<>,    Sign<>,      Exp<>,          Expm1<>,  Log<>,        Log1p<>,      Sqrt<>,
         Sigmoid<>,  Tanh<>,   Erf<>,       Floor<>,        Not<>,    IsFinite<>,   Copy<>,       Add<>,
         Sub<>,      Mul<>,    Div<>,       Max<>,          Min<>,    Pow,          Less<>,       LessEqual<>,
         Equal<>,    And<>,    Or<>,        Select<>,       MulAdd<>, NegMulAdd<>,  MulSub<>,     Relu<>,
         ReluGrad<>, SubMul<>, SubSquare<>, SubSquareAdd<>, Lerp<>,   LerpSquare<>, SqrtMulAdd<>, SubDiv<>},
        {},
        Sum,
        Dot,
        DotAndSum,
        Distance,
        DistanceToOne,
        AddProductsAndValues,
        MaxOf,
        MinOf,
        ExpShiftSum,
        Affine,
        FromBool,
        ToBool,
        ToBf16,
        MaxCells,
        MaxCellsGrad,
        SumCells,
        Uniform};
    for (size_t i = 0; i < std::size(kOps); ++i) std::copy_n(kSingles[i], 8, t.single[static_cast<int>(kOps[i])]);
    return t;
  }();
  return &kTable;
}
#undef STRATA_SINGLE2
#undef STRATA_SINGLE3

}  // namespace HWY_NAMESPACE
}  // namespace strata
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace strata {
HWY_EXPORT(Table);
const VectorOps& GetVectorOps() {
  static const VectorOps* const table = HWY_DYNAMIC_DISPATCH(Table)();
  return *table;
}
}  // namespace strata
#endif
