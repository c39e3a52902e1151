// Inverse circular and hyperbolic functions, quotients and remainders, comparisons by name.
#include <algorithm>
#include <cmath>
#include <utility>

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

Result CallFloorDivide(const Call& c) { return CallOperator(c, "//"); }
Result CallModulo(const Call& c) { return CallOperator(c, "%"); }

// The remainder with the sign of x.
Result CallFmod(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Pair p, Promote(c.evaluator(), c.place(), *c.argument(0), *c.argument(1)));
  const Value q = p.a / p.b;
  if (!IsFloat(q.dtype())) return Object(p.a - q * p.b);
  return Object(p.a - Select(Less(q, Like(q, 0)), -Floor(-q), Floor(q)) * p.b);
}

Result CallSquaredDifference(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Object d, CallOperator(c, "-"));
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
// The angle of the point (x, y): the first argument is y.
Result CallAtan2(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(Pair p, Promote(c.evaluator(), c.place(), *c.argument(0), *c.argument(1)));
  if (!IsFloat(p.a.dtype())) p = {Cast(p.a, DType::kF32), Cast(p.b, DType::kF32)};
  const Value y = p.a, x = p.b, zero = Like(y, 0), one = Like(y, 1);
  // The quotient of the smaller over the larger; 1 in place of a divisor that is not used.
  const Value wide = GreaterEqual(Abs(x), Abs(y)), origin = And(Equal(x, zero), Equal(y, zero));
  const Value along = y / Select(And(wide, Not(origin)), x, one), across = x / Select(wide, one, y);
  const Value sign = Select(Less(y, zero), -one, one);
  const Value turn = Select(Less(x, zero), sign * M_PI, zero);
  return Object(
      Select(wide, VAtan(Select(wide, along, zero)) + turn, sign * M_PI_2 - VAtan(Select(wide, zero, across))));
}

// x + value a b, x + value a / b
Result AddOf(const Call& c, const char* op) {
  STRATA_ASSIGN_OR_RETURN(Object v, ApplyBinary(c.evaluator(), c.place(), op, *c.argument(1), *c.argument(2)));
  if (c.has(3)) {
    STRATA_ASSIGN_OR_RETURN(v, ApplyBinary(c.evaluator(), c.place(), "*", v, *c.argument(3)));
  }
  return ApplyBinary(c.evaluator(), c.place(), "+", *c.argument(0), v);
}
Result CallAddcmul(const Call& c) { return AddOf(c, "*"); }
Result CallAddcdiv(const Call& c) { return AddOf(c, "/"); }

// What is behind the point, with the sign of x.
Value VFrac(Value x) { return x - Select(Less(x, Like(x, 0)), -Floor(-x), Floor(x)); }

Result CallNanToNum(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  const double largest = 3.4028234663852886e38;
  STRATA_ASSIGN_OR_RETURN(const double nan, c.Real(1, 0));
  STRATA_ASSIGN_OR_RETURN(const double high, c.Real(2, largest));
  STRATA_ASSIGN_OR_RETURN(const double low, c.Real(3, -largest));
  const Value infinite = Select(Greater(x, Like(x, 0)), Like(x, high), Like(x, low));
  return Object(Select(VIsFinite(x), x, Select(Equal(x, x), infinite, Like(x, nan))));
}

// Halves of an axis: the first by the sigmoid of the second.
Result CallGlu(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  int axis = x.rank() - 1;
  if (c.has(1)) {
    STRATA_ASSIGN_OR_RETURN(axis, c.Axis(1, x.rank()));
  }
  if (x.rank() == 0 || x.dim(axis) % 2 != 0) {
    return c.Error("x must have an even number of elements on the axis, got ", Describe(Object(x)));
  }
  const int64_t half = x.dim(axis) / 2;
  return Object(SliceAxis(x, axis, 0, half) * Sigmoid(SliceAxis(x, axis, half, half)));
}

// Over the last axes, which have the given shape.
Result CallLayerNorm(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const Shape shape, c.Sizes(1, false));
  STRATA_ASSIGN_OR_RETURN(const double eps, c.Real(4, 1e-5));
  const int rank = static_cast<int>(shape.size());
  if (rank == 0 || rank > x.rank() || !std::equal(shape.begin(), shape.end(), x.shape().end() - rank)) {
    return c.Error("normalized_shape must be the last axes of ", Describe(Object(x)), ", got ", ShapeString(shape));
  }
  std::vector<int64_t> axes;
  for (int i = x.rank() - rank; i < x.rank(); ++i) axes.push_back(i);
  const Value d = x - ReduceMean(x, axes, true);
  Object y = d / Sqrt(ReduceMean(Square(d), axes, true) + eps);
  for (const auto& [i, op] : {std::pair<size_t, const char*>{2, "*"}, {3, "+"}}) {
    if (!c.has(i)) continue;
    STRATA_ASSIGN_OR_RETURN(y, ApplyBinary(c.evaluator(), c.place(), op, y, *c.argument(i)));
  }
  return y;
}

// x by clip / |x| where the length is more than clip.
Result CallClipByNorm(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const double clip, c.Real(1));
  STRATA_ASSIGN_OR_RETURN(const std::vector<int64_t> axes, c.Axes(2, x.rank()));
  const Value squares = ReduceSum(Square(x), axes, true), some = Greater(squares, Like(squares, 0));
  const Value length = Select(some, Sqrt(Select(some, squares, Like(squares, 1))), squares);
  const Value least = Like(length, clip);
  return Object(x * clip / Select(Greater(length, least), length, least));
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

constexpr Function kSpecialFunctions[] = {
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
    {"frac", "x", OnFloats<VFrac>},
    {"nan_to_num", "x nan? posinf? neginf?", CallNanToNum},
    {"atan2", "y|input x|other", CallAtan2},
    {"arctan2", "y|input x|other", CallAtan2},
    {"addcmul", "x tensor1 tensor2 value?", CallAddcmul},
    {"addcdiv", "x tensor1 tensor2 value?", CallAddcdiv},
    {"glu", "x dim|axis?", CallGlu},
    {"layer_norm", "x normalized_shape weight? bias? eps?", CallLayerNorm},
    {"clip_by_norm", "x clip_norm axes?", CallClipByNorm},
    {"floordiv", kTwo, CallFloorDivide},
    {"floor_divide", kTwo, CallFloorDivide},
    {"floormod", kTwo, CallModulo},
    {"mod", kTwo, CallModulo},
    {"remainder", kTwo, CallModulo},
    {"fmod", kTwo, CallFmod},
    {"squared_difference", kTwo, CallSquaredDifference},
    {"divide_no_nan", kTwo, CallDivideNoNan},
    {"multiply_no_nan", kTwo, CallMultiplyNoNan},
    {"xlogy", kTwo, CallXlogy},
    {"hypot", kTwo, CallHypot},
    {"lerp", "x y|end weight", CallLerp},
    {"identity", "x", CallSame},
    {"clone", "x", CallSame},
    {"contiguous", "x", CallSame},
    {"epsilon", "", CallEpsilon},
    {"long", "x", CallTo<DType::kI64>},
    {"double", "x", CallTo<DType::kF64>},
};

}  // namespace

std::span<const Function> SpecialFunctions() { return kSpecialFunctions; }

}  // namespace strata::expr
