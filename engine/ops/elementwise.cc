// Elementwise operations: rules, gradients, reference.
#include <cmath>

#include "engine/base/status.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata {
namespace {

using Results = absl::StatusOr<std::vector<ValueInfo>>;
using In = std::span<const ValueInfo* const>;

Results InferUnary(const Attrs& attrs, In in) {
  if (const auto* cast = std::get_if<CastAttrs>(&attrs)) return std::vector<ValueInfo>{{cast->dtype, in[0]->shape}};
  return std::vector<ValueInfo>{{in[0]->dtype, in[0]->shape}};
}

Results InferPredicate(const Attrs&, In in) { return std::vector<ValueInfo>{{DType::kBool, in[0]->shape}}; }

Results InferArithmetic(const Attrs&, In in) {
  if (in[0]->dtype != in[1]->dtype) {
    return InvalidArgument("operands are ", DTypeName(in[0]->dtype), " and ", DTypeName(in[1]->dtype));
  }
  STRATA_ASSIGN_OR_RETURN(Shape shape, BroadcastShape(in[0]->shape, in[1]->shape));
  return std::vector<ValueInfo>{{in[0]->dtype, std::move(shape)}};
}

Results InferCompare(const Attrs& attrs, In in) {
  STRATA_ASSIGN_OR_RETURN(std::vector<ValueInfo> r, InferArithmetic(attrs, in));
  r[0].dtype = DType::kBool;
  return r;
}

Results InferSelect(const Attrs&, In in) {
  if (in[0]->dtype != DType::kBool || in[1]->dtype != in[2]->dtype) return InvalidArgument("select: wrong types");
  STRATA_ASSIGN_OR_RETURN(Shape shape, BroadcastShape(in[1]->shape, in[2]->shape));
  STRATA_ASSIGN_OR_RETURN(shape, BroadcastShape(shape, in[0]->shape));
  return std::vector<ValueInfo>{{in[1]->dtype, std::move(shape)}};
}

template <double (*F)(double)>
void RefUnary(const Attrs&, std::span<const RefTensor* const> in, std::span<RefTensor> out,
              std::span<const DType> types) {
  for (size_t i = 0; i < out[0].data.size(); ++i) out[0].data[i] = F(in[0]->data[i]);
  RoundToType(types[0], &out[0]);
}

// Flat index into an operand of `shape` for coordinates of the broadcast result.
int64_t BroadcastIndex(const Shape& shape, const std::vector<int64_t>& at) {
  int64_t index = 0;
  const size_t lead = at.size() - shape.size();
  for (size_t d = 0; d < shape.size(); ++d) index = index * shape[d] + (shape[d] == 1 ? 0 : at[lead + d]);
  return index;
}

template <double (*F)(double, double)>
void RefBinary(const Attrs&, std::span<const RefTensor* const> in, std::span<RefTensor> out,
               std::span<const DType> types) {
  ForEachIndex(out[0].shape, [&](int64_t i, const std::vector<int64_t>& at) {
    out[0].data[i] = F(in[0]->data[BroadcastIndex(in[0]->shape, at)], in[1]->data[BroadcastIndex(in[1]->shape, at)]);
  });
  RoundToType(types[0], &out[0]);
}

void RefSelect(const Attrs&, std::span<const RefTensor* const> in, std::span<RefTensor> out, std::span<const DType>) {
  ForEachIndex(out[0].shape, [&](int64_t i, const std::vector<int64_t>& at) {
    const RefTensor& from = in[0]->data[BroadcastIndex(in[0]->shape, at)] != 0 ? *in[1] : *in[2];
    out[0].data[i] = from.data[BroadcastIndex(from.shape, at)];
  });
}

double FNeg(double x) { return -x; }
double FAbs(double x) { return std::fabs(x); }
double FSign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }
double FExp(double x) { return std::exp(x); }
double FExpm1(double x) { return std::expm1(x); }
double FLog(double x) { return std::log(x); }
double FLog1p(double x) { return std::log1p(x); }
double FSqrt(double x) { return std::sqrt(x); }
double FSigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
double FTanh(double x) { return std::tanh(x); }
double FErf(double x) { return std::erf(x); }
double FFloor(double x) { return std::floor(x); }
double FNot(double x) { return x == 0; }
double FIsFinite(double x) { return std::isfinite(x); }
double FCast(double x) { return x; }
double FAdd(double a, double b) { return a + b; }
double FSub(double a, double b) { return a - b; }
double FMul(double a, double b) { return a * b; }
double FDiv(double a, double b) { return a / b; }
double FMax(double a, double b) { return a >= b || a != a ? a : b; }
double FMin(double a, double b) { return a <= b || a != a ? a : b; }
double FPow(double a, double b) { return std::pow(a, b); }
double FLess(double a, double b) { return a < b; }
double FLessEqual(double a, double b) { return a <= b; }
double FEqual(double a, double b) { return a == b; }
double FAnd(double a, double b) { return a != 0 && b != 0; }
double FOr(double a, double b) { return a != 0 || b != 0; }

// Gradients. `x`, `y` are the node's operand and result.
struct UnaryParts {
  Value x, y, dy;
};
UnaryParts Parts(Graph* g, NodeId n, std::span<const Value> dy) {
  const Node& node = g->nodes()[n];
  return {g->value(node.inputs[0]), g->value(node.outputs[0]), dy[0]};
}

using Grads = std::vector<Value>;
Grads VjpNeg(Graph*, NodeId, std::span<const Value> dy) { return {-dy[0]}; }
Grads VjpAbs(Graph* g, NodeId n, std::span<const Value> dy) { return {dy[0] * Sign(Parts(g, n, dy).x)}; }
Grads VjpExp(Graph* g, NodeId n, std::span<const Value> dy) { return {dy[0] * Parts(g, n, dy).y}; }
Grads VjpExpm1(Graph* g, NodeId n, std::span<const Value> dy) { return {dy[0] * (Parts(g, n, dy).y + 1)}; }
Grads VjpLog(Graph* g, NodeId n, std::span<const Value> dy) { return {dy[0] / Parts(g, n, dy).x}; }
Grads VjpLog1p(Graph* g, NodeId n, std::span<const Value> dy) { return {dy[0] / (Parts(g, n, dy).x + 1)}; }
Grads VjpSqrt(Graph* g, NodeId n, std::span<const Value> dy) { return {dy[0] * 0.5 / Parts(g, n, dy).y}; }
Grads VjpSigmoid(Graph* g, NodeId n, std::span<const Value> dy) {
  const Value y = Parts(g, n, dy).y;
  return {dy[0] * y * (1 - y)};
}
Grads VjpTanh(Graph* g, NodeId n, std::span<const Value> dy) {
  const Value y = Parts(g, n, dy).y;
  return {dy[0] * (1 - y * y)};
}
Grads VjpErf(Graph* g, NodeId n, std::span<const Value> dy) {
  return {dy[0] * Exp(-Square(Parts(g, n, dy).x)) * (2 / std::sqrt(M_PI))};
}
Grads VjpCast(Graph* g, NodeId n, std::span<const Value> dy) {
  const Value x = Parts(g, n, dy).x;
  if (!IsFloat(x.dtype())) return {Value{}};
  return {Cast(dy[0], x.dtype())};
}

struct BinaryParts {
  Value a, b, y, dy;
};
BinaryParts Parts2(Graph* g, NodeId n, std::span<const Value> dy) {
  const Node& node = g->nodes()[n];
  return {g->value(node.inputs[0]), g->value(node.inputs[1]), g->value(node.outputs[0]), dy[0]};
}
Grads Sum2(const BinaryParts& p, Value da, Value db) { return {SumTo(da, p.a.shape()), SumTo(db, p.b.shape())}; }

Grads VjpAdd(Graph* g, NodeId n, std::span<const Value> dy) { return Sum2(Parts2(g, n, dy), dy[0], dy[0]); }
Grads VjpSub(Graph* g, NodeId n, std::span<const Value> dy) { return Sum2(Parts2(g, n, dy), dy[0], -dy[0]); }
Grads VjpMul(Graph* g, NodeId n, std::span<const Value> dy) {
  const BinaryParts p = Parts2(g, n, dy);
  return Sum2(p, dy[0] * p.b, dy[0] * p.a);
}
Grads VjpDiv(Graph* g, NodeId n, std::span<const Value> dy) {
  const BinaryParts p = Parts2(g, n, dy);
  return Sum2(p, dy[0] / p.b, -(dy[0] * p.y / p.b));
}
// The whole gradient goes to one side: a where it wins or ties.
Grads VjpExtremum(Graph* g, NodeId n, std::span<const Value> dy) {
  const BinaryParts p = Parts2(g, n, dy);
  const bool is_max = g->nodes()[n].op == Op::kMax;
  const Value left = is_max ? GreaterEqual(p.a, p.b) : LessEqual(p.a, p.b);
  const Value zero = Like(p.y, 0);
  return Sum2(p, Select(left, dy[0], zero), Select(left, zero, dy[0]));
}
Grads VjpPow(Graph* g, NodeId n, std::span<const Value> dy) {
  const BinaryParts p = Parts2(g, n, dy);
  const Value zero = Like(p.y, 0);
  const Value da = Select(Equal(p.b, zero), zero, dy[0] * p.b * Pow(p.a, p.b - 1));
  const Value log_a = Log(Select(Greater(p.a, zero), p.a, Like(p.a, 1)));
  return Sum2(p, da, dy[0] * p.y * log_a);
}
Grads VjpSelect(Graph* g, NodeId n, std::span<const Value> dy) {
  const Node& node = g->nodes()[n];
  const Value c = g->value(node.inputs[0]), a = g->value(node.inputs[1]), b = g->value(node.inputs[2]);
  const Value zero = Like(a, 0);
  return {Value{}, SumTo(Select(c, dy[0], zero), a.shape()), SumTo(Select(c, zero, dy[0]), b.shape())};
}

}  // namespace

std::span<const OpRecord> ElementwiseRecords() {
  static constexpr OpRecord kRecords[] = {
      {Op::kNeg, InferUnary, VjpNeg, RefUnary<FNeg>},
      {Op::kAbs, InferUnary, VjpAbs, RefUnary<FAbs>},
      {Op::kSign, InferUnary, nullptr, RefUnary<FSign>},
      {Op::kExp, InferUnary, VjpExp, RefUnary<FExp>},
      {Op::kExpm1, InferUnary, VjpExpm1, RefUnary<FExpm1>},
      {Op::kLog, InferUnary, VjpLog, RefUnary<FLog>},
      {Op::kLog1p, InferUnary, VjpLog1p, RefUnary<FLog1p>},
      {Op::kSqrt, InferUnary, VjpSqrt, RefUnary<FSqrt>},
      {Op::kSigmoid, InferUnary, VjpSigmoid, RefUnary<FSigmoid>},
      {Op::kTanh, InferUnary, VjpTanh, RefUnary<FTanh>},
      {Op::kErf, InferUnary, VjpErf, RefUnary<FErf>},
      {Op::kFloor, InferUnary, nullptr, RefUnary<FFloor>},
      {Op::kNot, InferPredicate, nullptr, RefUnary<FNot>},
      {Op::kIsFinite, InferPredicate, nullptr, RefUnary<FIsFinite>},
      // No composition serves: every other op with this value has the gradient that this one stops.
      {Op::kDetach, InferUnary, nullptr, RefUnary<FCast>},
      {Op::kCast, InferUnary, VjpCast, RefUnary<FCast>},
      {Op::kAdd, InferArithmetic, VjpAdd, RefBinary<FAdd>},
      {Op::kSub, InferArithmetic, VjpSub, RefBinary<FSub>},
      {Op::kMul, InferArithmetic, VjpMul, RefBinary<FMul>},
      {Op::kDiv, InferArithmetic, VjpDiv, RefBinary<FDiv>},
      {Op::kMax, InferArithmetic, VjpExtremum, RefBinary<FMax>},
      {Op::kMin, InferArithmetic, VjpExtremum, RefBinary<FMin>},
      {Op::kPow, InferArithmetic, VjpPow, RefBinary<FPow>},
      {Op::kLess, InferCompare, nullptr, RefBinary<FLess>},
      {Op::kLessEqual, InferCompare, nullptr, RefBinary<FLessEqual>},
      {Op::kEqual, InferCompare, nullptr, RefBinary<FEqual>},
      {Op::kAnd, InferCompare, nullptr, RefBinary<FAnd>},
      {Op::kOr, InferCompare, nullptr, RefBinary<FOr>},
      {Op::kSelect, InferSelect, VjpSelect, RefSelect},
  };
  return kRecords;
}

Value Unary(Op op, Value x) {
  const Value in[] = {x};
  return Emit(x.graph, op, NoAttrs{}, in)[0];
}

Value Binary(Op op, Value a, Value b) {
  const Value in[] = {a, b};
  return Emit(a.graph, op, NoAttrs{}, in)[0];
}

Value Cast(Value x, DType dtype) {
  if (x && x.dtype() == dtype) return x;
  const Value in[] = {x};
  return Emit(x.graph, Op::kCast, CastAttrs{dtype}, in)[0];
}

Value Select(Value condition, Value a, Value b) {
  const Value in[] = {condition, a, b};
  return Emit(condition.graph, Op::kSelect, NoAttrs{}, in)[0];
}

Value Neg(Value x) { return Unary(Op::kNeg, x); }
Value Abs(Value x) { return Unary(Op::kAbs, x); }
Value Sign(Value x) { return Unary(Op::kSign, x); }
Value Exp(Value x) { return Unary(Op::kExp, x); }
Value Log(Value x) { return Unary(Op::kLog, x); }
Value Log1p(Value x) { return Unary(Op::kLog1p, x); }
Value Expm1(Value x) { return Unary(Op::kExpm1, x); }
Value Sqrt(Value x) { return Unary(Op::kSqrt, x); }
Value Sigmoid(Value x) { return Unary(Op::kSigmoid, x); }
Value Tanh(Value x) { return Unary(Op::kTanh, x); }
Value Erf(Value x) { return Unary(Op::kErf, x); }
Value Floor(Value x) { return Unary(Op::kFloor, x); }
Value Detach(Value x) { return Unary(Op::kDetach, x); }
Value Not(Value x) { return Unary(Op::kNot, x); }
Value Max(Value a, Value b) { return Binary(Op::kMax, a, b); }
Value Min(Value a, Value b) { return Binary(Op::kMin, a, b); }
Value Max(Value a, double b) { return Max(a, Like(a, b)); }
Value Min(Value a, double b) { return Min(a, Like(a, b)); }
Value Pow(Value a, Value b) { return Binary(Op::kPow, a, b); }
Value Square(Value x) { return x * x; }
Value Less(Value a, Value b) { return Binary(Op::kLess, a, b); }
Value LessEqual(Value a, Value b) { return Binary(Op::kLessEqual, a, b); }
Value Greater(Value a, Value b) { return Binary(Op::kLess, b, a); }
Value GreaterEqual(Value a, Value b) { return Binary(Op::kLessEqual, b, a); }
Value Equal(Value a, Value b) { return Binary(Op::kEqual, a, b); }
Value And(Value a, Value b) { return Binary(Op::kAnd, a, b); }
Value Or(Value a, Value b) { return Binary(Op::kOr, a, b); }
Value operator+(Value a, Value b) { return Binary(Op::kAdd, a, b); }
Value operator-(Value a, Value b) { return Binary(Op::kSub, a, b); }
Value operator*(Value a, Value b) { return Binary(Op::kMul, a, b); }
Value operator/(Value a, Value b) { return Binary(Op::kDiv, a, b); }
Value operator-(Value a) { return Neg(a); }
Value operator+(Value a, double b) { return a + Like(a, b); }
Value operator-(Value a, double b) { return a - Like(a, b); }
Value operator*(Value a, double b) { return a * Like(a, b); }
Value operator/(Value a, double b) { return a / Like(a, b); }
Value operator+(double a, Value b) { return Like(b, a) + b; }
Value operator-(double a, Value b) { return Like(b, a) - b; }
Value operator*(double a, Value b) { return Like(b, a) * b; }
Value operator/(double a, Value b) { return Like(b, a) / b; }

Value Like(Value x, double value) { return Scalar(x.graph, value, x.dtype()); }

Value Relu(Value x) {
  // A NaN is not <= 0 and stays.
  const Value zero = Like(x, 0);
  return Select(LessEqual(x, zero), zero, x);
}

// Each branch is finite on the other's side too, and the gradient at 0 is one half.
Value Softplus(Value x) {
  const Value positive = x + Log1p(Exp(-Max(x, 0)));
  return Select(Greater(x, Like(x, 0)), positive, Log1p(Exp(Min(x, 0))));
}

}  // namespace strata
