// Operators over numbers and tensors, and the types of their results.
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/status.h"
#include "engine/expr/evaluate.h"
#include "engine/expr/lexer.h"
#include "engine/ops/ops.h"

namespace strata::expr {
namespace {

using Result = absl::StatusOr<Object>;

constexpr int64_t kLargestPower = 64;  // that products spell out

// ------------------------------------------------------------------------------------------------------------ Numbers

Result Overflow(Place place, const std::string& op) {
  return ErrorAt(place, "must fit 64 bits, got an overflow of \"", op, "\"");
}

Result IntegerPower(Place place, int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) return Overflow(place, "**");
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return Overflow(place, "**");
  }
  return Object(Number::Int(result));
}

Result IntegerOp(Place place, const std::string& op, int64_t a, int64_t b) {
  int64_t r = 0;
  if (op == "+") return __builtin_add_overflow(a, b, &r) ? Overflow(place, op) : Result(Number::Int(r));
  if (op == "-") return __builtin_sub_overflow(a, b, &r) ? Overflow(place, op) : Result(Number::Int(r));
  if (op == "*") return __builtin_mul_overflow(a, b, &r) ? Overflow(place, op) : Result(Number::Int(r));
  if (op == "//" || op == "%") {
    if (b == 0) return ErrorAt(place, "the divisor must not be 0");
    if (b == -1) return op == "%" ? Result(Number::Int(0)) : IntegerOp(place, "-", 0, a);
    const int64_t floor = a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
    return Object(Number::Int(op == "//" ? floor : a - floor * b));
  }
  return IntegerPower(place, a, b);
}

Result NumberOp(Place place, const std::string& op, const Number& a, const Number& b) {
  const bool real = a.kind == Number::Kind::kFloat || b.kind == Number::Kind::kFloat;
  const double x = a.AsDouble(), y = b.AsDouble();
  if (op == "==") return Object(Number::Bool(real ? x == y : a.integer == b.integer));
  if (op == "!=") return Object(Number::Bool(real ? x != y : a.integer != b.integer));
  if (op == "<") return Object(Number::Bool(real ? x < y : a.integer < b.integer));
  if (op == "<=") return Object(Number::Bool(real ? x <= y : a.integer <= b.integer));
  if (op == ">") return Object(Number::Bool(real ? x > y : a.integer > b.integer));
  if (op == ">=") return Object(Number::Bool(real ? x >= y : a.integer >= b.integer));
  if (op == "and") return Object(Number::Bool(a.IsTrue() && b.IsTrue()));
  if (op == "or") return Object(Number::Bool(a.IsTrue() || b.IsTrue()));
  if (op == "@") return ErrorAt(place, "\"@\" must stand between tensors, got ", Describe(a), " and ", Describe(b));
  const bool negative_power = op == "**" && !real && b.integer < 0;
  if (!real && op != "/" && !negative_power) return IntegerOp(place, op, a.integer, b.integer);
  if (op == "+") return Object(Number::Float(x + y));
  if (op == "-") return Object(Number::Float(x - y));
  if (op == "*") return Object(Number::Float(x * y));
  if (op == "**") return Object(Number::Float(std::pow(x, y)));
  if (y == 0) return ErrorAt(place, "the divisor must not be 0");
  if (op == "/") return Object(Number::Float(x / y));
  const double floor = std::floor(x / y);
  return Object(Number::Float(op == "//" ? floor : x - floor * y));
}

// ------------------------------------------------------------------------------------------------------------ Types

bool IsUnsigned(DType t) { return t == DType::kU8 || t == DType::kU16 || t == DType::kU32 || t == DType::kU64; }

// The type of two tensors together: bool < integers < floats, the wider of one family. One signed and one unsigned
// integer become the next wider signed one.
DType Join(DType a, DType b) {
  if (a == b) return a;
  if (a == DType::kBool) return b;
  if (b == DType::kBool) return a;
  if (IsFloat(a) != IsFloat(b)) return IsFloat(a) ? a : b;
  if (IsFloat(a)) return SizeOf(a) == SizeOf(b) ? DType::kF32 : SizeOf(a) > SizeOf(b) ? a : b;
  if (IsUnsigned(a) == IsUnsigned(b)) return SizeOf(a) > SizeOf(b) ? a : b;
  const DType u = IsUnsigned(a) ? a : b, s = IsUnsigned(a) ? b : a;
  if (SizeOf(s) > SizeOf(u)) return s;
  return u == DType::kU8 ? DType::kI16 : u == DType::kU16 ? DType::kI32 : DType::kI64;
}

// The type of a tensor and a number together: the tensor's, unless the number is of a higher family.
DType Join(DType t, const Number& n) {
  if (n.kind == Number::Kind::kFloat && !IsFloat(t)) return DType::kF32;
  if (n.kind == Number::Kind::kInt && t == DType::kBool) return DType::kI64;
  return t;
}

bool Fits(int64_t v, DType t) {
  if (IsFloat(t) || t == DType::kI64) return true;
  if (t == DType::kBool) return v == 0 || v == 1;
  const int bits = static_cast<int>(SizeOf(t)) * 8;
  if (t == DType::kU64) return v >= 0;
  if (IsUnsigned(t)) return v >= 0 && v < (int64_t{1} << bits);
  return v >= -(int64_t{1} << (bits - 1)) && v < (int64_t{1} << (bits - 1));
}

absl::StatusOr<Value> NumberLike(Evaluator& e, Place place, const Number& n, DType t) {
  if (n.kind != Number::Kind::kFloat && !Fits(n.integer, t)) {
    return ErrorAt(place, "must fit the other operand's type ", DTypeName(t), ", got ", n.integer);
  }
  return e.Materialize(place, n, t);
}

Value FloorDivide(Value a, Value b) {
  if (IsFloat(a.dtype())) return Floor(a / b);
  const Value q = a / b, r = a - q * b, zero = Like(a, 0);
  const Value opposite = Not(Equal(Less(r, zero), Less(b, zero)));
  return q - Cast(And(Not(Equal(r, zero)), opposite), a.dtype());
}

Value PowerOf(Value x, int64_t n) {
  Value result;
  for (Value square = x; n > 0; n >>= 1) {
    if ((n & 1) != 0) result = result ? result * square : square;
    if (n > 1) square = square * square;
  }
  return result;
}

// x ** n for a number n: products for small whole n, which keep integers and are exact.
Result PowerByNumber(Evaluator& e, Place place, Value x, const Number& n) {
  if (x.dtype() == DType::kBool) x = Cast(x, DType::kI64);
  const bool whole = n.kind != Number::Kind::kFloat ||
                     (IsFloat(x.dtype()) && n.real == std::floor(n.real) && std::abs(n.real) <= kLargestPower);
  const int64_t k = n.kind == Number::Kind::kFloat ? static_cast<int64_t>(whole ? n.real : 0) : n.integer;
  if (whole && k < 0 && !IsFloat(x.dtype())) {
    return ErrorAt(place, "the power of an integer must be >= 0, got ", k);
  }
  e.Use(n);
  if (whole && k == 0) return Object(Broadcast(Like(x, 1), x.shape()));
  if (whole && k > 0 && k <= kLargestPower) return Object(PowerOf(x, k));
  if (n.kind == Number::Kind::kFloat && n.real == 0.5 && IsFloat(x.dtype())) return Object(Sqrt(x));
  const DType t = Join(x.dtype(), n);
  STRATA_ASSIGN_OR_RETURN(const Value exponent, NumberLike(e, place, n, t));
  return Object(Pow(Cast(x, t), exponent));
}

Result Matrix(Place place, Value a, Value b) {
  if (a.rank() == 0 || b.rank() == 0) {
    return ErrorAt(place, "\"@\" must stand between tensors with axes, got ", Describe(a), " and ", Describe(b));
  }
  const bool row = a.rank() == 1, column = b.rank() == 1;
  if (a.dim(-1) != b.dim(column ? -1 : -2)) {
    return ErrorAt(place, "\"@\" must join axes of one size, got ", Describe(a), " and ", Describe(b));
  }
  if (row) a = ExpandDims(a, 0);
  if (column) b = ExpandDims(b, 1);
  Value y = MatMul(a, b);
  if (column) y = Squeeze(y, -1);
  if (row) y = Squeeze(y, column ? -1 : -2);
  return Object(y);
}

Value Truth(Value x) { return x.dtype() == DType::kBool ? x : Not(Equal(x, Like(x, 0))); }

bool IsTruth(const Object& x) {
  if (x.tensor() != nullptr) return x.tensor()->dtype() == DType::kBool;
  return x.number() != nullptr && x.number()->kind == Number::Kind::kBool;
}

Result TensorOp(Evaluator& e, Place place, const std::string& op, const Object& left, const Object& right) {
  if (op == "**" && left.tensor() != nullptr && right.number() != nullptr) {
    return PowerByNumber(e, place, *left.tensor(), *right.number());
  }
  STRATA_ASSIGN_OR_RETURN(const Pair pair, Promote(e, place, left, right));
  Value a = pair.a, b = pair.b;
  if (op == "@") return Matrix(place, a, b);
  if (op == "==") return Object(Equal(a, b));
  if (op == "!=") return Object(Not(Equal(a, b)));
  if (op == "<") return Object(Less(a, b));
  if (op == "<=") return Object(LessEqual(a, b));
  if (op == ">") return Object(Greater(a, b));
  if (op == ">=") return Object(GreaterEqual(a, b));
  if (op == "and") return Object(And(Truth(a), Truth(b)));
  if (op == "or") return Object(Or(Truth(a), Truth(b)));
  // Truth values count.
  const DType t = op == "/" && !IsFloat(a.dtype()) ? DType::kF32 : a.dtype() == DType::kBool ? DType::kI64 : a.dtype();
  a = Cast(a, t);
  b = Cast(b, t);
  if (op == "+") return Object(a + b);
  if (op == "-") return Object(a - b);
  if (op == "*") return Object(a * b);
  if (op == "/") return Object(a / b);
  if (op == "//") return Object(FloorDivide(a, b));
  if (op == "%") return Object(a - FloorDivide(a, b) * b);
  return Object(Pow(a, b));
}

}  // namespace

absl::StatusOr<Pair> Promote(Evaluator& e, Place place, const Object& a, const Object& b) {
  if (a.tensor() != nullptr && b.number() != nullptr) {
    const DType t = Join(a.tensor()->dtype(), *b.number());
    STRATA_ASSIGN_OR_RETURN(const Value right, NumberLike(e, place, *b.number(), t));
    return Pair{Cast(*a.tensor(), t), right};
  }
  if (b.tensor() != nullptr && a.number() != nullptr) {
    const DType t = Join(b.tensor()->dtype(), *a.number());
    STRATA_ASSIGN_OR_RETURN(const Value left, NumberLike(e, place, *a.number(), t));
    return Pair{left, Cast(*b.tensor(), t)};
  }
  STRATA_ASSIGN_OR_RETURN(const Value left, e.AsTensor(place, a));
  STRATA_ASSIGN_OR_RETURN(const Value right, e.AsTensor(place, b));
  const DType t = Join(left.dtype(), right.dtype());
  return Pair{Cast(left, t), Cast(right, t)};
}

Result ApplyUnary(Evaluator& e, Place place, const std::string& op, const Object& x) {
  if (op == "~") {
    if (!IsTruth(x)) return ErrorAt(place, "\"~\" must stand before truth values, got ", Describe(x));
    return ApplyUnary(e, place, "not", x);
  }
  if (op == "not") {
    if (const Value* v = x.tensor(); v != nullptr) return Object(Not(Truth(*v)));
    STRATA_ASSIGN_OR_RETURN(const bool holds, e.Decide(place, x));
    return Object(Number::Bool(!holds));
  }
  if (const Number* n = x.number(); n != nullptr) {
    if (op == "+") return x;
    Result negative = NumberOp(place, "-", n->kind == Number::Kind::kFloat ? Number::Float(-0.0) : Number::Int(0), *n);
    if (!negative.ok()) return negative;
    Number result = *negative->number();
    result.batch = n->batch;
    return Object(result);
  }
  STRATA_ASSIGN_OR_RETURN(Value v, e.AsTensor(place, x));
  if (v.dtype() == DType::kBool) v = Cast(v, DType::kI64);
  return Object(op == "-" ? Neg(v) : v);
}

Result ApplyBinary(Evaluator& e, Place place, const std::string& op, const Object& a, const Object& b) {
  if (op == "&" || op == "|") {
    if (IsTruth(a) && IsTruth(b)) return ApplyBinary(e, place, op == "&" ? "and" : "or", a, b);
    return ErrorAt(place, "\"", op, "\" must stand between truth values, got ", Describe(a), " and ", Describe(b));
  }
  if (a.number() != nullptr && b.number() != nullptr) {
    Result r = NumberOp(place, op, *a.number(), *b.number());
    if (!r.ok()) return r;
    Number n = *r->number();
    n.batch = a.number()->batch || b.number()->batch;
    return Object(n);
  }
  const bool equality = op == "==" || op == "!=";
  if (equality && a.tensor() == nullptr && b.tensor() == nullptr) {
    // Texts, and None.
    const bool same = (a.is_none() && b.is_none()) || (a.text() && b.text() && *a.text() == *b.text());
    return Object(Number::Bool(same == (op == "==")));
  }
  if (op == "+" && a.list() != nullptr && b.list() != nullptr) {
    Object::List joined = *a.list();
    joined.insert(joined.end(), b.list()->begin(), b.list()->end());
    return Object(std::move(joined));
  }
  if ((op == "and" || op == "or") && a.tensor() == nullptr && b.tensor() == nullptr) {
    STRATA_ASSIGN_OR_RETURN(const bool left, e.Decide(place, a));
    STRATA_ASSIGN_OR_RETURN(const bool right, e.Decide(place, b));
    return Object(Number::Bool(op == "and" ? left && right : left || right));
  }
  // A list beside a tensor is one.
  const auto operand = [](const Object& x, const Object& other) {
    return x.tensor() != nullptr || x.number() != nullptr || (x.list() != nullptr && other.tensor() != nullptr);
  };
  if (!operand(a, b) || !operand(b, a)) {
    return ErrorAt(place, "\"", op, "\" must stand between numbers or tensors, got ", Describe(a), " and ",
                   Describe(b));
  }
  return TensorOp(e, place, op, a, b);
}

}  // namespace strata::expr
