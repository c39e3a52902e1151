// Functions that work element by element.
#include <algorithm>
#include <cmath>

#include "engine/base/status.h"
#include "engine/expr/functions.h"
#include "engine/ops/ops.h"

namespace strata::expr {
namespace {

using Result = absl::StatusOr<Object>;

// A function of one argument: floats on floats, numbers on numbers.
template <Value (*F)(Value), double (*N)(double)>
Result OnFloats(const Call& c) {
  if (c.numbers()) {
    STRATA_ASSIGN_OR_RETURN(const double x, c.Real(0));
    return Object(Number::Float(N(x)));
  }
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  return Object(F(x));
}

// The same, but integers stay integers.
template <Value (*F)(Value), int64_t (*I)(int64_t), double (*N)(double)>
Result KeepIntegers(const Call& c) {
  if (const Number* n = c.argument(0)->number(); n != nullptr) {
    c.evaluator().Use(*n);
    return Object(n->kind == Number::Kind::kFloat ? Number::Float(N(n->real)) : Number::Int(I(n->integer)));
  }
  STRATA_ASSIGN_OR_RETURN(Value x, c.Tensor(0));
  if (x.dtype() == DType::kBool) x = Cast(x, DType::kI64);
  return Object(F(x));
}

double NExp(double x) { return std::exp(x); }
double NExpm1(double x) { return std::expm1(x); }
double NLog(double x) { return std::log(x); }
double NLog1p(double x) { return std::log1p(x); }
double NLog2(double x) { return std::log2(x); }
double NLog10(double x) { return std::log10(x); }
double NSqrt(double x) { return std::sqrt(x); }
double NRsqrt(double x) { return 1 / std::sqrt(x); }
double NSigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double NTanh(double x) { return std::tanh(x); }
double NErf(double x) { return std::erf(x); }
double NSoftplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }
double NLogSigmoid(double x) { return -NSoftplus(-x); }
double NSilu(double x) { return x * NSigmoid(x); }
double NMish(double x) { return x * std::tanh(NSoftplus(x)); }
double NSoftsign(double x) { return x / (1 + std::fabs(x)); }
double NReciprocal(double x) { return 1 / x; }
double NFloor(double x) { return std::floor(x); }
double NCeil(double x) { return std::ceil(x); }
double NAbs(double x) { return std::fabs(x); }
double NSign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }
double NSquare(double x) { return x * x; }

Value VLog2(Value x) { return Log(x) * M_LOG2E; }
Value VLog10(Value x) { return Log(x) * M_LOG10E; }
Value VRsqrt(Value x) { return Like(x, 1) / Sqrt(x); }
Value VLogSigmoid(Value x) { return -Softplus(-x); }
Value VSilu(Value x) { return x * Sigmoid(x); }
Value VMish(Value x) { return x * Tanh(Softplus(x)); }
Value VSoftsign(Value x) { return x / (Abs(x) + 1); }
Value VReciprocal(Value x) { return Like(x, 1) / x; }
Value VFloor(Value x) { return IsFloat(x.dtype()) ? Floor(x) : x; }
Value VCeil(Value x) { return IsFloat(x.dtype()) ? -Floor(-x) : x; }

double NSinh(double x) { return std::sinh(x); }
double NCosh(double x) { return std::cosh(x); }
double NSin(double x) { return std::sin(x); }
double NCos(double x) { return std::cos(x); }
double NRound(double x) { return std::nearbyint(x); }
double NTrunc(double x) { return std::trunc(x); }

// With e = e^x - 1: exact near 0, where e^x - e^-x is not.
Value VSinh(Value x) {
  const Value e = Expm1(x);
  return (e + e / (e + 1)) * 0.5;
}
Value VCosh(Value x) { return (Exp(x) + Exp(-x)) * 0.5; }

// sin(x + shift pi/2): the remainder of x by pi/2, in three parts so that f32 keeps its digits, Taylor's series of both
// functions there, and the quadrant's choice of them.
Value SinFrom(Value x, double shift) {
  const Value q = Floor(x * M_2_PI + 0.5);
  const Value r = x - q * 1.5703125 - q * 4.837512969970703125e-4 - q * 7.54978995489188216e-8;
  const Value z = r * r;
  Value s = 1 - z / 110, c = 1 - z / 132;
  for (const double k : {72, 42, 20, 6}) s = 1 - z * (1 / k) * s;
  for (const double k : {90, 56, 30, 12, 2}) c = 1 - z * (1 / k) * c;
  const Value quadrant = q + shift, half = Floor(quadrant * 0.5);
  const Value odd = Greater(quadrant - half * 2, Like(x, 0.5));
  const Value y = Select(odd, c, r * s);
  const Value below = Greater(half - Floor(half * 0.5) * 2, Like(x, 0.5));
  return Select(below, -y, y);
}
Value VSin(Value x) { return SinFrom(x, 0); }
Value VCos(Value x) { return SinFrom(x, 1); }

// Halves go to the even neighbour.
Value VRound(Value x) {
  if (!IsFloat(x.dtype())) return x;
  const Value up = Floor(x + 0.5);
  const Value odd = Not(Equal(up - Floor(up * 0.5) * 2, Like(x, 0)));
  return up - Cast(And(Equal(up - x, Like(x, 0.5)), odd), x.dtype());
}
Value VTrunc(Value x) { return IsFloat(x.dtype()) ? Select(Less(x, Like(x, 0)), -Floor(-x), Floor(x)) : x; }

int64_t ISame(int64_t x) { return x; }
// Wraps, as tensors do.
int64_t IAbs(int64_t x) { return x < 0 ? static_cast<int64_t>(-static_cast<uint64_t>(x)) : x; }
int64_t ISign(int64_t x) { return (x > 0) - (x < 0); }
int64_t ISquare(int64_t x) { return static_cast<int64_t>(static_cast<uint64_t>(x) * static_cast<uint64_t>(x)); }

// log(e^a + e^b), without overflow.
Result CallLogAddExp(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value a, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const Value b, c.Float(1));
  STRATA_ASSIGN_OR_RETURN(const Pair p, Promote(c.evaluator(), c.place(), Object(a), Object(b)));
  return Object(p.b + Softplus(p.a - p.b));
}

Result CallIsFinite(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  return Object(Unary(Op::kIsFinite, x));
}

Result CallIsNan(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  return Object(Not(Equal(x, x)));
}

Result CallDetach(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  return Object(Detach(x));
}

Result CallPow(const Call& c) { return CallOperator(c, "**"); }
// With PyTorch's factor alpha of the second.
Result WithFactor(const Call& c, const char* op) {
  if (!c.has(2)) return CallOperator(c, op);
  STRATA_ASSIGN_OR_RETURN(const Object y, ApplyBinary(c.evaluator(), c.place(), "*", *c.argument(1), *c.argument(2)));
  return ApplyBinary(c.evaluator(), c.place(), op, *c.argument(0), y);
}
Result CallAdd(const Call& c) { return WithFactor(c, "+"); }
Result CallSubtract(const Call& c) { return WithFactor(c, "-"); }
Result CallMultiply(const Call& c) { return CallOperator(c, "*"); }
// With PyTorch's rounding_mode: floor or trunc.
Result CallDivide(const Call& c) {
  if (!c.has(2)) return CallOperator(c, "/");
  const std::string* mode = c.argument(2)->text();
  if (mode != nullptr && *mode == "floor") return CallOperator(c, "//");
  if (mode == nullptr || *mode != "trunc") {
    return c.Error("rounding_mode must be one of floor, trunc, got ", Describe(*c.argument(2)));
  }
  STRATA_ASSIGN_OR_RETURN(const Pair p, Promote(c.evaluator(), c.place(), *c.argument(0), *c.argument(1)));
  const Value q = p.a / p.b;
  return Object(IsFloat(q.dtype()) ? Select(Less(q, Like(q, 0)), -Floor(-q), Floor(q)) : q);
}
Result CallMatMul(const Call& c) {
  Object sides[2] = {*c.argument(0), *c.argument(1)};
  for (const size_t i : {2, 3}) {
    if (c.name() != "matmul") break;
    STRATA_ASSIGN_OR_RETURN(const bool turned, c.Flag(i));
    if (!turned) continue;
    STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(i - 2));
    if (x.rank() < 2) return c.Error("must have 2 axes to transpose, got ", Describe(Object(x)));
    sides[i - 2] = SwapAxes(x, -2, -1);
  }
  return ApplyBinary(c.evaluator(), c.place(), "@", sides[0], sides[1]);
}
Result CallEqual(const Call& c) { return CallOperator(c, "=="); }
Result CallNotEqual(const Call& c) { return CallOperator(c, "!="); }
Result CallLess(const Call& c) { return CallOperator(c, "<"); }
Result CallLessEqual(const Call& c) { return CallOperator(c, "<="); }
Result CallGreater(const Call& c) { return CallOperator(c, ">"); }
Result CallGreaterEqual(const Call& c) { return CallOperator(c, ">="); }
Result CallAnd(const Call& c) { return CallOperator(c, "and"); }
Result CallOr(const Call& c) { return CallOperator(c, "or"); }
Result CallNot(const Call& c) { return ApplyUnary(c.evaluator(), c.place(), "not", *c.argument(0)); }
Result CallNegative(const Call& c) { return ApplyUnary(c.evaluator(), c.place(), "-", *c.argument(0)); }

// On a tie the gradient goes to a, in PYTORCH half to each.
Result Extremum(Evaluator& e, Place place, const Object& a, const Object& b, bool largest, bool halves = true) {
  if (a.number() != nullptr && b.number() != nullptr) {
    const bool first =
        largest ? a.number()->AsDouble() >= b.number()->AsDouble() : a.number()->AsDouble() <= b.number()->AsDouble();
    return first ? a : b;
  }
  STRATA_ASSIGN_OR_RETURN(const Pair p, Promote(e, place, a, b));
  const Value y = largest ? Max(p.a, p.b) : Min(p.a, p.b);
  if (!halves || !e.pytorch() || !IsFloat(y.dtype())) return Object(y);
  return Object(Select(Equal(p.a, p.b), (p.a + p.b) * 0.5, y));
}
Result CallMaximum(const Call& c) { return Extremum(c.evaluator(), c.place(), *c.argument(0), *c.argument(1), true); }
Result CallMinimum(const Call& c) { return Extremum(c.evaluator(), c.place(), *c.argument(0), *c.argument(1), false); }

// At a bound x has the gradient, in PYTORCH it has none.
Result Bounded(const Call& c, const Object& x, const Object& bound, bool from_below) {
  const bool first = !c.evaluator().pytorch();
  return Extremum(c.evaluator(), c.place(), first ? x : bound, first ? bound : x, from_below, false);
}
Result CallClip(const Call& c) {
  Result x = *c.argument(0);
  if (c.has(1)) x = Bounded(c, *x, *c.argument(1), true);
  if (!x.ok() || !c.has(2)) return x;
  return Bounded(c, *x, *c.argument(2), false);
}
Result CallClampMin(const Call& c) { return Bounded(c, *c.argument(0), *c.argument(1), true); }
Result CallClampMax(const Call& c) { return Bounded(c, *c.argument(0), *c.argument(1), false); }

Result CallWhere(const Call& c) {
  Evaluator& e = c.evaluator();
  if (c.argument(0)->tensor() == nullptr) {
    STRATA_ASSIGN_OR_RETURN(const bool holds, e.Decide(c.place(), *c.argument(0)));
    return *c.argument(holds ? 1 : 2);
  }
  Value condition = *c.argument(0)->tensor();
  if (condition.dtype() != DType::kBool) condition = Not(Equal(condition, Like(condition, 0)));
  STRATA_ASSIGN_OR_RETURN(const Pair p, Promote(e, c.place(), *c.argument(1), *c.argument(2)));
  return Object(Select(condition, p.a, p.b));
}

Result CallCast(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const DType type, c.Type(1));
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  return Object(Cast(x, type));
}
Result CastTo(const Call& c, DType type, Number::Kind kind) {
  if (const Number* n = c.argument(0)->number(); n != nullptr) {
    Number r = *n;
    r.kind = kind;
    r.real = n->AsDouble();
    if (n->kind == Number::Kind::kFloat && kind != Number::Kind::kFloat) {
      if (!(std::fabs(n->real) < 9e18)) return c.Error("must fit 64 bits, got ", n->real);
      r.integer = static_cast<int64_t>(n->real);
    }
    return Object(r);
  }
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  return Object(Cast(x, type));
}
Result CallFloat(const Call& c) { return CastTo(c, DType::kF32, Number::Kind::kFloat); }
Result CallInt(const Call& c) { return CastTo(c, DType::kI64, Number::Kind::kInt); }

constexpr Function kMathFunctions[] = {
    {"exp", "x", OnFloats<Exp, NExp>},
    {"expm1", "x", OnFloats<Expm1, NExpm1>},
    {"log", "x", OnFloats<Log, NLog>},
    {"log1p", "x", OnFloats<Log1p, NLog1p>},
    {"log2", "x", OnFloats<VLog2, NLog2>},
    {"log10", "x", OnFloats<VLog10, NLog10>},
    {"sqrt", "x", OnFloats<Sqrt, NSqrt>},
    {"rsqrt", "x", OnFloats<VRsqrt, NRsqrt>},
    {"reciprocal", "x", OnFloats<VReciprocal, NReciprocal>},
    {"sigmoid", "x", OnFloats<Sigmoid, NSigmoid>},
    {"tanh", "x", OnFloats<Tanh, NTanh>},
    {"erf", "x", OnFloats<Erf, NErf>},
    {"log_sigmoid", "x", OnFloats<VLogSigmoid, NLogSigmoid>},
    {"logsigmoid", "x", OnFloats<VLogSigmoid, NLogSigmoid>},
    {"silu", "x", OnFloats<VSilu, NSilu>},
    {"swish", "x", OnFloats<VSilu, NSilu>},
    {"mish", "x", OnFloats<VMish, NMish>},
    {"softsign", "x", OnFloats<VSoftsign, NSoftsign>},
    {"sinh", "x", OnFloats<VSinh, NSinh>},
    {"cosh", "x", OnFloats<VCosh, NCosh>},
    {"sin", "x", OnFloats<VSin, NSin>},
    {"cos", "x", OnFloats<VCos, NCos>},
    {"logaddexp", "x y|other", CallLogAddExp},
    {"round", "x", KeepIntegers<VRound, ISame, NRound>},
    {"trunc", "x", KeepIntegers<VTrunc, ISame, NTrunc>},
    {"floor", "x", KeepIntegers<VFloor, ISame, NFloor>},
    {"ceil", "x", KeepIntegers<VCeil, ISame, NCeil>},
    {"abs", "x", KeepIntegers<Abs, IAbs, NAbs>},
    {"sign", "x", KeepIntegers<Sign, ISign, NSign>},
    {"square", "x", KeepIntegers<Square, ISquare, NSquare>},
    {"isfinite", "x", CallIsFinite},
    {"isnan", "x", CallIsNan},
    {"stop_gradient", "x", CallDetach},
    {"detach", "x", CallDetach},
    {"pow", "x y|a|exponent", CallPow},
    {"add", "x y|other alpha?", CallAdd},
    {"bias_add", "x y|bias", CallAdd},
    {"subtract", "x y|other alpha?", CallSubtract},
    {"sub", "x y|other alpha?", CallSubtract},
    {"multiply", "x y|other", CallMultiply},
    {"mul", "x y|other", CallMultiply},
    {"divide", "x y|other rounding_mode?", CallDivide},
    {"div", "x y|other rounding_mode?", CallDivide},
    {"truediv", "x y|other", CallDivide},
    {"true_divide", "x y|other", CallDivide},
    {"matmul", "a b|other transpose_a? transpose_b?", CallMatMul},
    {"bmm", "a b|mat2", CallMatMul},
    {"mm", "a b|mat2", CallMatMul},
    {"dot", "x y|other", CallMatMul},
    {"negative", "x", CallNegative},
    {"neg", "x", CallNegative},
    {"equal", "x y|other", CallEqual},
    {"eq", "x y|other", CallEqual},
    {"not_equal", "x y|other", CallNotEqual},
    {"ne", "x y|other", CallNotEqual},
    {"less", "x y|other", CallLess},
    {"lt", "x y|other", CallLess},
    {"less_equal", "x y|other", CallLessEqual},
    {"le", "x y|other", CallLessEqual},
    {"greater", "x y|other", CallGreater},
    {"gt", "x y|other", CallGreater},
    {"greater_equal", "x y|other", CallGreaterEqual},
    {"ge", "x y|other", CallGreaterEqual},
    {"logical_and", "x y|other", CallAnd},
    {"logical_or", "x y|other", CallOr},
    {"logical_not", "x", CallNot},
    {"maximum", "x y|other", CallMaximum},
    {"minimum", "x y|other", CallMinimum},
    {"clip", "x min|a_min|low|min_value|clip_value_min? max|a_max|high|max_value|clip_value_max?", CallClip},
    {"clamp", "x min? max?", CallClip},
    {"clamp_min", "x min", CallClampMin},
    {"clamp_max", "x max", CallClampMax},
    {"clip_by_value", "x min|clip_value_min max|clip_value_max", CallClip},
    {"where", "condition x|a y|b|other", CallWhere},
    {"switch", "condition x|then_expression y|else_expression", CallWhere},
    {"cast", "x dtype|type", CallCast},
    {"to", "x dtype", CallCast},
    {"type", "x dtype", CallCast},
    {"float", "x", CallFloat},
    {"int", "x", CallInt},
};

}  // namespace

Result CallOperator(const Call& c, const char* op) {
  return ApplyBinary(c.evaluator(), c.place(), op, *c.argument(0), *c.argument(1));
}

std::span<const Function> MathFunctions() { return kMathFunctions; }

}  // namespace strata::expr
