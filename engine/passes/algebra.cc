// Identities of arithmetic that hold for every float, infinities and NaN included (so x * 0 stays).
#include <cmath>

#include "engine/passes/rewriter.h"
#include "engine/passes/simplifier.h"

namespace strata {
namespace {

// `x` in the shape of the result, where broadcasting with the other operand had changed it.
Value Shaped(Simplifier* s, Value x, const Proposal& c) { return s->Broadcast(x, c.result.shape); }

Value SimplifyAdd(Simplifier* s, const Proposal& c, const Value& a, const Value& b) {
  // -0.0 + 0 is 0: the sign of a zero is not kept, which no comparison sees.
  if (IsScalar(b, 0)) return Shaped(s, a, c);
  if (IsScalar(a, 0)) return Shaped(s, b, c);
  if (a == b) return s->Binary(Op::kMul, a, s->Scalar(2, a.dtype()));
  if (ProducerOf(b).op == Op::kNeg) return s->Binary(Op::kSub, a, OperandOf(b, 0));
  if (ProducerOf(a).op == Op::kNeg) return s->Binary(Op::kSub, b, OperandOf(a, 0));
  return {};
}

// x * c1 * c2 = x * (c1 c2), for constants.
Value JoinFactors(Simplifier* s, const Value& x, double factor) {
  const Node& n = ProducerOf(x);
  if (n.op != Op::kMul || !IsFloat(x.dtype())) return {};
  for (const size_t i : {size_t{0}, size_t{1}}) {
    const std::optional<double> inner = ScalarConstant(OperandOf(x, i));
    if (inner && std::fabs(*inner * factor) > 1e-30 && std::fabs(*inner * factor) < 1e30) {
      return s->Binary(Op::kMul, OperandOf(x, 1 - i), s->Scalar(*inner * factor, x.dtype()));
    }
  }
  return {};
}

// x * (y c1) * c2 = x * (y (c1 c2)), where y has fewer elements than x: constants join where they cost less. With
// c1 < c1 c2 <= 1, y (c1 c2) is neither infinite nor zero where y c1 was not.
Value JoinSmallerFactor(Simplifier* s, const Value& x, double factor) {
  const Node& n = ProducerOf(x);
  if (n.op != Op::kMul || !IsFloat(x.dtype()) || std::fabs(factor) < 1) return {};
  for (const size_t i : {size_t{0}, size_t{1}}) {
    const Value small = OperandOf(x, i);
    const Node& product = ProducerOf(small);
    if (product.op != Op::kMul || small.num_elements() >= x.num_elements()) continue;
    for (const size_t j : {size_t{0}, size_t{1}}) {
      const std::optional<double> inner = ScalarConstant(OperandOf(small, j));
      if (!inner || std::fabs(*inner * factor) > 1) continue;
      if (const Value joined = JoinFactors(s, small, factor)) return s->Binary(Op::kMul, OperandOf(x, 1 - i), joined);
    }
  }
  return {};
}

Value SimplifyMul(Simplifier* s, const Proposal& c, Value a, Value b) {
  if (ScalarConstant(a)) std::swap(a, b);
  const std::optional<double> factor = ScalarConstant(b);
  if (!factor) return {};
  if (*factor == 1) return Shaped(s, a, c);
  if (*factor == -1) return Shaped(s, s->Make(Op::kNeg, {}, {a}), c);
  if (const Value joined = JoinFactors(s, a, *factor)) return Shaped(s, joined, c);
  if (const Value joined = JoinSmallerFactor(s, a, *factor)) return Shaped(s, joined, c);
  return {};
}

Value SimplifyDiv(Simplifier* s, const Proposal& c, const Value& a, const Value& b) {
  const std::optional<double> d = ScalarConstant(b);
  if (!d || !IsFloat(c.result.dtype)) return {};
  if (*d == 1) return Shaped(s, a, c);
  const double inverse = 1 / *d;
  if (*d == 0 || !std::isfinite(inverse) || std::fabs(inverse) < 1e-30 || std::fabs(inverse) > 1e30) return {};
  return Shaped(s, s->Binary(Op::kMul, a, s->Scalar(inverse, b.dtype())), c);
}

Value SimplifyPow(Simplifier* s, const Proposal& c, const Value& a, const Value& b) {
  const std::optional<double> p = ScalarConstant(b);
  if (!p) return {};
  if (*p == 1) return Shaped(s, a, c);
  if (*p == 2) return Shaped(s, s->Binary(Op::kMul, a, a), c);
  if (*p == 3) return Shaped(s, s->Binary(Op::kMul, s->Binary(Op::kMul, a, a), a), c);
  if (*p == -1 && IsFloat(a.dtype())) return Shaped(s, s->Binary(Op::kDiv, s->Scalar(1, a.dtype()), a), c);
  return {};
}

// And with true, or with false.
Value SimplifyLogic(Simplifier* s, const Proposal& c, const Value& a, const Value& b) {
  const double neutral = c.op == Op::kAnd ? 1 : 0;
  if (a.dtype() != DType::kBool) return {};
  if (IsScalar(b, neutral)) return Shaped(s, a, c);
  if (IsScalar(a, neutral)) return Shaped(s, b, c);
  return {};
}

Value SimplifySelect(Simplifier* s, const Proposal& c) {
  if (c.in[1] == c.in[2]) return Shaped(s, c.in[1], c);
  const std::optional<double> always = ScalarConstant(c.in[0]);
  if (always) return Shaped(s, *always != 0 ? c.in[1] : c.in[2], c);
  if (ProducerOf(c.in[0]).op == Op::kNot && OperandOf(c.in[0], 0).dtype() == DType::kBool) {
    return s->Make(Op::kSelect, {}, {OperandOf(c.in[0], 0), c.in[2], c.in[1]});
  }
  return {};
}

}  // namespace

Value SimplifyAlgebra(Simplifier* s, const Proposal& c) {
  switch (c.op) {
    case Op::kAdd:
      return SimplifyAdd(s, c, c.in[0], c.in[1]);
    case Op::kSub:
      if (IsScalar(c.in[1], 0)) return Shaped(s, c.in[0], c);
      if (IsScalar(c.in[0], 0)) return Shaped(s, s->Make(Op::kNeg, {}, {c.in[1]}), c);
      if (ProducerOf(c.in[1]).op == Op::kNeg) return s->Binary(Op::kAdd, c.in[0], OperandOf(c.in[1], 0));
      return {};
    case Op::kMul:
      return SimplifyMul(s, c, c.in[0], c.in[1]);
    case Op::kDiv:
      return SimplifyDiv(s, c, c.in[0], c.in[1]);
    case Op::kPow:
      return SimplifyPow(s, c, c.in[0], c.in[1]);
    case Op::kAnd:
    case Op::kOr:
      return SimplifyLogic(s, c, c.in[0], c.in[1]);
    case Op::kSelect:
      return SimplifySelect(s, c);
    case Op::kNeg:
      return ProducerOf(c.in[0]).op == Op::kNeg ? OperandOf(c.in[0], 0) : Value{};
    case Op::kNot:
      return ProducerOf(c.in[0]).op == Op::kNot && OperandOf(c.in[0], 0).dtype() == DType::kBool ? OperandOf(c.in[0], 0)
                                                                                                 : Value{};
    case Op::kCast:
      return c.in[0].dtype() == c.result.dtype ? c.in[0] : Value{};
    default:
      return {};
  }
}

}  // namespace strata
