// Inverse circular and hyperbolic functions, quotients and remainders, comparisons by name.
#include <cmath>

#include "engine/base/status.h"
#include "engine/expr/functions.h"
#include "engine/ops/ops.h"

namespace strata::expr {
namespace {

using Result = absl::StatusOr<Object>;

template <Value (*F)(Value)>
Result OnFloats(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  return Object(F(x));
}

// Half of the angle whose tangent is x: x / (1 + sqrt(1 + x^2)), which no x overflows.
Value HalfTangent(Value x) {
  const Value far = Greater(Abs(x), Like(x, 1e9)), near = Select(far, Like(x, 1), x);
  return Select(far, Sign(x) - 1 / Select(far, x, Like(x, 1)), near / (Sqrt(Square(near) + 1) + 1));
}

// The angle is halved twice; then nine terms of the series are exact to 1e-13.
Value VAtan(Value x) {
  const Value t = HalfTangent(HalfTangent(x)), z = Square(t);
  Value y = 1.0 / 17 - z / 19;
  for (int k = 15; k > 0; k -= 2) y = 1.0 / k - z * y;
  return t * y * 4;
}
Value VAsin(Value x) { return VAtan(x / (Sqrt(1 - Square(x)) + 1)) * 2; }
Value VAcos(Value x) { return M_PI_2 - VAsin(x); }
Value VAsinh(Value x) {
  const Value a = Abs(x), s = Square(a);
  return Select(Less(x, Like(x, 0)), Like(x, -1), Like(x, 1)) * Log1p(a + s / (Sqrt(s + 1) + 1));
}
Value VAcosh(Value x) { return Log(x + Sqrt(Square(x) - 1)); }
Value VAtanh(Value x) { return (Log1p(x) - Log1p(-x)) * 0.5; }
Value VErfc(Value x) { return 1 - Erf(x); }
Value VLogit(Value x) { return Log(x) - Log1p(-x); }
Value VTan(Value x) {
  // sin and cos share the quadrant: t and -1/t of the remainder.
  const Value q = Floor(x * M_2_PI + 0.5);
  const Value r = x - q * 1.5703125 - q * 4.837512969970703125e-4 - q * 7.54978995489188216e-8, z = Square(r);
  Value s = 1 - z / 110, c = 1 - z / 132;
  for (const double k : {72, 42, 20, 6}) s = 1 - z * (1 / k) * s;
  for (const double k : {90, 56, 30, 12, 2}) c = 1 - z * (1 / k) * c;
  const Value odd = Greater(q - Floor(q * 0.5) * 2, Like(x, 0.5));
  return Select(odd, -c, r * s) / Select(odd, r * s, c);
}
Value VIsNan(Value x) { return Not(Equal(x, x)); }
Value VIsFinite(Value x) { return Unary(Op::kIsFinite, x); }
Value VIsInf(Value x) { return And(Not(Unary(Op::kIsFinite, x)), Equal(x, x)); }

Result Operator(const Call& c, const char* op) {
  return ApplyBinary(c.evaluator(), c.place(), op, *c.argument(0), *c.argument(1));
}
Result CallFloorDivide(const Call& c) { return Operator(c, "//"); }
Result CallModulo(const Call& c) { return Operator(c, "%"); }
Result CallDivide(const Call& c) { return Operator(c, "/"); }
Result CallLess(const Call& c) { return Operator(c, "<"); }
Result CallLessEqual(const Call& c) { return Operator(c, "<="); }
Result CallGreater(const Call& c) { return Operator(c, ">"); }
Result CallGreaterEqual(const Call& c) { return Operator(c, ">="); }
Result CallEqual(const Call& c) { return Operator(c, "=="); }
Result CallNotEqual(const Call& c) { return Operator(c, "!="); }
Result CallNegative(const Call& c) { return ApplyUnary(c.evaluator(), c.place(), "-", *c.argument(0)); }

// The remainder with the sign of x.
Result CallFmod(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Promote(c.evaluator(), c.place(), *c.argument(0), *c.argument(1)));
  const Value q = p.a / p.b;
  if (!IsFloat(q.dtype())) return Object(p.a - q * p.b);
  return Object(p.a - Select(Less(q, Like(q, 0)), -Floor(-q), Floor(q)) * p.b);
}

Result CallSquaredDifference(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Object d, Operator(c, "-"));
  return ApplyBinary(c.evaluator(), c.place(), "**", d, Number::Int(2));
}

// 0 where the divisor is 0, whatever x is; its gradient too.
Result CallDivideNoNan(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(Pair p, Promote(c.evaluator(), c.place(), *c.argument(0), *c.argument(1)));
  if (!IsFloat(p.a.dtype())) p = {Cast(p.a, DType::kF32), Cast(p.b, DType::kF32)};
  const Value none = Equal(p.b, Like(p.b, 0));
  return Object(Select(none, Like(p.a, 0), p.a / Select(none, Like(p.b, 1), p.b)));
}
// 0 where y is 0, whatever x is.
Result CallMultiplyNoNan(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Promote(c.evaluator(), c.place(), *c.argument(0), *c.argument(1)));
  return Object(Select(Equal(p.b, Like(p.b, 0)), Like(p.a, 0), p.a * p.b));
}
// x log(y); 0 where x is 0.
Result CallXlogy(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(Pair p, Promote(c.evaluator(), c.place(), *c.argument(0), *c.argument(1)));
  if (!IsFloat(p.a.dtype())) p = {Cast(p.a, DType::kF32), Cast(p.b, DType::kF32)};
  return Object(Select(Equal(p.a, Like(p.a, 0)), Like(p.a, 0), p.a * Log(p.b)));
}
Result CallHypot(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Promote(c.evaluator(), c.place(), *c.argument(0), *c.argument(1)));
  return Object(Sqrt(Square(p.a) + Square(p.b)));
}
// x + weight (y - x)
Result CallLerp(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Object d, ApplyBinary(c.evaluator(), c.place(), "-", *c.argument(1), *c.argument(0)));
  STRATA_ASSIGN_OR_RETURN(const Object step, ApplyBinary(c.evaluator(), c.place(), "*", d, *c.argument(2)));
  return ApplyBinary(c.evaluator(), c.place(), "+", *c.argument(0), step);
}

Result CallSame(const Call& c) { return *c.argument(0); }
Result CallEpsilon(const Call&) { return Object(Number::Float(1e-7)); }

template <DType T>
Result CallTo(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  return Object(Cast(x, T));
}

constexpr char kTwo[] = "x y|other";

constexpr Function kFunctions[] = {
    {"atan", "x", OnFloats<VAtan>},
    {"arctan", "x", OnFloats<VAtan>},
    {"asin", "x", OnFloats<VAsin>},
    {"arcsin", "x", OnFloats<VAsin>},
    {"acos", "x", OnFloats<VAcos>},
    {"arccos", "x", OnFloats<VAcos>},
    {"asinh", "x", OnFloats<VAsinh>},
    {"acosh", "x", OnFloats<VAcosh>},
    {"atanh", "x", OnFloats<VAtanh>},
    {"tan", "x", OnFloats<VTan>},
    {"erfc", "x", OnFloats<VErfc>},
    {"logit", "x", OnFloats<VLogit>},
    {"expit", "x", OnFloats<Sigmoid>},
    {"exponential", "x", OnFloats<Exp>},
    {"is_nan", "x", OnFloats<VIsNan>},
    {"is_finite", "x", OnFloats<VIsFinite>},
    {"is_inf", "x", OnFloats<VIsInf>},
    {"isinf", "x", OnFloats<VIsInf>},
    {"floordiv", kTwo, CallFloorDivide},
    {"floor_divide", kTwo, CallFloorDivide},
    {"floormod", kTwo, CallModulo},
    {"mod", kTwo, CallModulo},
    {"remainder", kTwo, CallModulo},
    {"fmod", kTwo, CallFmod},
    {"truediv", kTwo, CallDivide},
    {"true_divide", kTwo, CallDivide},
    {"squared_difference", kTwo, CallSquaredDifference},
    {"divide_no_nan", kTwo, CallDivideNoNan},
    {"multiply_no_nan", kTwo, CallMultiplyNoNan},
    {"xlogy", kTwo, CallXlogy},
    {"hypot", kTwo, CallHypot},
    {"lerp", "x y|end weight", CallLerp},
    {"neg", "x", CallNegative},
    {"lt", kTwo, CallLess},
    {"le", kTwo, CallLessEqual},
    {"gt", kTwo, CallGreater},
    {"ge", kTwo, CallGreaterEqual},
    {"eq", kTwo, CallEqual},
    {"ne", kTwo, CallNotEqual},
    {"identity", "x", CallSame},
    {"clone", "x", CallSame},
    {"contiguous", "x", CallSame},
    {"epsilon", "", CallEpsilon},
    {"long", "x", CallTo<DType::kI64>},
    {"double", "x", CallTo<DType::kF64>},
};

}  // namespace

std::span<const Function> SpecialFunctions() { return kFunctions; }

}  // namespace strata::expr
