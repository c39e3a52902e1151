// Elementary functions of float vectors, accurate to a few units in the last place over the whole range, infinities and
// NaN included (Highway's own leave those out). Included once per vector target.
#if defined(STRATA_VECTOR_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef STRATA_VECTOR_MATH_INL_H_
#undef STRATA_VECTOR_MATH_INL_H_
#else
#define STRATA_VECTOR_MATH_INL_H_
#endif

#include <limits>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace strata {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;
using V = hn::Vec<F>;

constexpr float kInf = std::numeric_limits<float>::infinity();

HWY_INLINE V KeepNaN(V x, V y) { return hn::IfThenElse(hn::IsNaN(x), x, y); }

HWY_INLINE V ExpV(V x) {
  const F d;
  const V y = hn::Exp(d, hn::Min(x, hn::Set(d, 89.0f)));
  return KeepNaN(x, hn::IfThenElse(hn::Gt(x, hn::Set(d, 88.72283f)), hn::Set(d, kInf), y));
}

HWY_INLINE V Expm1V(V x) {
  const F d;
  const V y = hn::Expm1(d, hn::Min(x, hn::Set(d, 89.0f)));
  return KeepNaN(x, hn::IfThenElse(hn::Gt(x, hn::Set(d, 88.72283f)), hn::Set(d, kInf), y));
}

// Puts the values of log at and beyond the ends of its range; `arg` is what the logarithm is taken of.
HWY_INLINE V LogEnds(V arg, V y) {
  const F d;
  const V zero = hn::Zero(d);
  y = hn::IfThenElse(
      hn::Gt(arg, zero), y,
      hn::IfThenElse(hn::Eq(arg, zero), hn::Set(d, -kInf), hn::Set(d, std::numeric_limits<float>::quiet_NaN())));
  return hn::IfThenElse(hn::Eq(arg, hn::Set(d, kInf)), arg, y);
}

HWY_INLINE V LogV(V x) { return LogEnds(x, hn::Log(F(), x)); }
HWY_INLINE V Log1pV(V x) { return LogEnds(hn::Add(x, hn::Set(F(), 1.0f)), hn::Log1p(F(), x)); }

template <size_t kTerms>
HWY_INLINE V Polynomial(V u, const float (&c)[kTerms]) {
  const F d;
  V y = hn::Set(d, c[kTerms - 1]);
  for (size_t i = kTerms - 1; i-- > 0;) y = hn::MulAdd(y, u, hn::Set(d, c[i]));
  return y;
}

// e^x for |x| <= 87.33, where 2^n fits float32's exponent: 2^n (1 + r + r^2 q(r)) with x = n ln 2 + r. q has the least
// relative error of the whole (3e-9).
HWY_INLINE V ShortExpV(V x) {
  static constexpr float kQ[] = {0.4999999341248466f, 0.1666652010731815f, 0.04166839421244469f, 0.008368780457730648f,
                                 0.0013814467073175554f};
  const F d;
  const hn::RebindToSigned<F> di;
  // Adding 1.5 2^23 rounds to an integer, which is then in the low bits.
  const V round = hn::Set(d, 12582912.0f);
  const V shifted = hn::MulAdd(x, hn::Set(d, 1.44269504088896341f), round);
  const V n = hn::Sub(shifted, round);
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440054690583e-4f), r);
  const V power = hn::BitCast(d, hn::Add(hn::ShiftLeft<23>(hn::BitCast(di, shifted)), hn::Set(di, 127 << 23)));
  return hn::MulAdd(power, hn::MulAdd(hn::Mul(r, r), Polynomial(r, kQ), r), power);
}

// Below -88.72 e^-x is more than float32 holds: 0.
HWY_INLINE V SigmoidV(V x) {
  const F d;
  const V one = hn::Set(d, 1.0f), end = hn::Set(d, 87.33f);
  const V z = ShortExpV(hn::Max(hn::Min(hn::Neg(x), end), hn::Neg(end)));
  return KeepNaN(x, hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -88.72283f)), hn::Div(one, hn::Add(one, z))));
}

// |x| times a quotient of polynomials in x^2, fitted to tanh(x) / x over [0, 9.02] for the least relative error (7e-9;
// with float32's rounding up to 5 units in the last place). Beyond, float32 knows only 1, which gradients rely on.
HWY_INLINE V TanhV(V x) {
  static constexpr float kUpper[] = {1.0f,
                                     0.130849227309227f,
                                     0.0031049360986799f,
                                     1.1163464478158858e-5f,
                                     -2.025581480324945e-8f,
                                     5.2891750007555416e-11f,
                                     -8.508886412302019e-14f};
  static constexpr float kLower[] = {1.0f, 0.4641825258731842f, 0.024499189108610153f, 0.00025475077563896775f};
  const F d;
  const V one = hn::Set(d, 1.0f), end = hn::Set(d, 9.02f), size = hn::Abs(x);
  const V t = hn::Min(size, end);
  const V u = hn::Mul(t, t);
  const V y = hn::Div(hn::Mul(t, Polynomial(u, kUpper)), Polynomial(u, kLower));
  return KeepNaN(x, hn::CopySign(hn::IfThenElse(hn::Ge(size, end), one, hn::Min(y, one)), x));
}

// Below 1: x times a polynomial in x^2; above: 1 - e^(-x^2) times a polynomial. Both interpolate at Chebyshev's points
// (errors 1e-9 and 2e-8).
HWY_INLINE V ErfV(V x) {
  static constexpr float kLow[] = {0.9654687386698674f,    -0.14053609727754232f,  0.01985249714090629f,
                                   -0.002285419544873885f, 0.0002175135416587844f, -1.7669068025403696e-5f,
                                   1.2306054767609633e-6f};
  static constexpr float kHigh[] = {0.2108063640611437f,      -0.11152139054306913f,   0.056110627994484664f,
                                    -0.02699793741843174f,    0.012486699636323885f,   -0.0056112336366086965f,
                                    0.0024183842291230126f,   -0.0009162726026341396f, 0.00037647727475582563f,
                                    -0.00024518645151745596f, 9.294974297872903e-5f};
  const F d;
  const V one = hn::Set(d, 1.0f);
  const V ax = hn::Min(hn::Abs(x), hn::Set(d, 4.0f));
  const V low = hn::Mul(x, Polynomial(hn::MulSub(hn::Mul(ax, ax), hn::Set(d, 2.0f), one), kLow));
  const V u = hn::MulSub(ax, hn::Set(d, 1.0f / 1.5f), hn::Set(d, 2.5f / 1.5f));
  const V high = hn::NegMulAdd(hn::Exp(d, hn::Neg(hn::Mul(ax, ax))), Polynomial(u, kHigh), one);
  return KeepNaN(x, hn::IfThenElse(hn::Lt(ax, one), low, hn::CopySign(high, x)));
}

}  // namespace HWY_NAMESPACE
}  // namespace strata
HWY_AFTER_NAMESPACE();

#endif  // include guard per target
