// Functions that make tensors.
#include <algorithm>
#include <cmath>

#include "engine/base/status.h"
#include "engine/expr/functions.h"
#include "engine/ops/ops.h"

namespace strata::expr {
namespace {

using Result = absl::StatusOr<Object>;

// Tensors of one number.
Result Filled(const Call& c, const Number& number, const Object* type) {
  if (c.graph() == nullptr) return c.Error("must be a number, got a tensor");
  STRATA_ASSIGN_OR_RETURN(const Shape shape, c.Sizes(0, false));
  DType dtype = number.kind == Number::Kind::kInt    ? DType::kI64
                : number.kind == Number::Kind::kBool ? DType::kBool
                                                     : DType::kF32;
  if (type != nullptr) {
    STRATA_ASSIGN_OR_RETURN(dtype, c.Type(type == c.argument(1) ? 1 : 2));
  }
  STRATA_ASSIGN_OR_RETURN(const Value v, c.evaluator().Materialize(c.place(), number, dtype));
  return Object(Broadcast(v, shape));
}
Result CallZeros(const Call& c) { return Filled(c, Number::Float(0), c.argument(1)); }
Result CallOnes(const Call& c) { return Filled(c, Number::Float(1), c.argument(1)); }
Result CallFull(const Call& c) {
  if (c.argument(1)->number() == nullptr) return c.Error("value must be a number, got ", Describe(*c.argument(1)));
  return Filled(c, *c.argument(1)->number(), c.argument(2));
}
Result CallZerosLike(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  return Object(Broadcast(Like(x, 0), x.shape()));
}
Result CallOnesLike(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  return Object(Broadcast(Like(x, 1), x.shape()));
}

Result CallFullLike(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const double value, c.Real(1));
  return Object(Broadcast(Like(x, value), x.shape()));
}

// 0, 1, ..., n - 1; or from a start up to a stop, by a step.
Result CallArange(const Call& c) {
  if (c.graph() == nullptr) return c.Error("must be a number, got a tensor");
  double start = 0, step = 1;
  STRATA_ASSIGN_OR_RETURN(double stop, c.Real(0));
  bool real = c.argument(0)->number()->kind == Number::Kind::kFloat;
  if (c.has(1)) {
    start = stop;
    STRATA_ASSIGN_OR_RETURN(stop, c.Real(1));
    real |= c.argument(1)->number()->kind == Number::Kind::kFloat;
  }
  if (c.has(2)) {
    STRATA_ASSIGN_OR_RETURN(step, c.Real(2));
    real |= c.argument(2)->number()->kind == Number::Kind::kFloat;
  }
  const double count = step == 0 ? -1 : std::ceil((stop - start) / step);
  if (step == 0 || !(count <= kMaxElements)) return c.Error("must have at most ", kMaxElements, " elements, got more");
  if (!c.has(1) && stop < 0) return c.Error("n must be between 0 and ", kMaxElements, ", got ", stop);
  DType dtype = real ? DType::kF32 : DType::kI64;
  if (c.has(3)) {
    STRATA_ASSIGN_OR_RETURN(dtype, c.Type(3));
  }
  const Value i = Iota(c.graph(), {static_cast<int64_t>(std::max(count, 0.0))}, 0, DType::kI64);
  if (!real) return Object(Cast(start == 0 && step == 1 ? i : i * step + start, dtype));
  return Object(Cast(Cast(i, DType::kF32) * step + start, dtype));
}

// So many numbers from start to stop, both included.
Result CallLinspace(const Call& c) {
  if (c.graph() == nullptr) return c.Error("must be a number, got a tensor");
  STRATA_ASSIGN_OR_RETURN(const double start, c.Real(0));
  STRATA_ASSIGN_OR_RETURN(const double stop, c.Real(1));
  STRATA_ASSIGN_OR_RETURN(const int64_t n, c.Integer(2));
  if (n < 1 || n > kMaxElements) return c.Error("the number must be between 1 and ", kMaxElements, ", got ", n);
  const Value i = Cast(Iota(c.graph(), {n}, 0, DType::kI64), DType::kF32);
  return Object(i * (n == 1 ? 0 : (stop - start) / static_cast<double>(n - 1)) + start);
}

Result CallEye(const Call& c) {
  if (c.graph() == nullptr) return c.Error("must be a number, got a tensor");
  STRATA_ASSIGN_OR_RETURN(const int64_t n, c.Integer(0));
  if (n < 0 || n > (int64_t{1} << 15)) return c.Error("n must be between 0 and 32768, got ", n);
  DType dtype = DType::kF32;
  if (c.has(1)) {
    STRATA_ASSIGN_OR_RETURN(dtype, c.Type(1));
  }
  return Object(Cast(Equal(Iota(c.graph(), {n, n}, 0, DType::kI64), Iota(c.graph(), {n, n}, 1, DType::kI64)), dtype));
}

Result CallConstant(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  if (!c.has(1)) return Object(x);
  STRATA_ASSIGN_OR_RETURN(const DType dtype, c.Type(1));
  return Object(Cast(x, dtype));
}

Result CallOneHot(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value ids, c.Tensor(0));
  if (IsFloat(ids.dtype()) || ids.dtype() == DType::kBool) {
    return c.Error("ids must be integers, got ", Describe(Object(ids)));
  }
  STRATA_ASSIGN_OR_RETURN(const int64_t depth, c.Integer(1));
  if (depth < 1 || depth > kMaxElements) return c.Error("depth must be between 1 and ", kMaxElements, ", got ", depth);
  DType dtype = DType::kF32;
  if (c.has(2)) {
    STRATA_ASSIGN_OR_RETURN(dtype, c.Type(2));
  }
  return Object(OneHot(ids, depth, dtype));
}

Result CallRandomUniform(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Shape shape, c.Sizes(0, false));
  STRATA_ASSIGN_OR_RETURN(const double low, c.Real(1, 0));
  STRATA_ASSIGN_OR_RETURN(const double high, c.Real(2, 1));
  STRATA_ASSIGN_OR_RETURN(const Value u, c.evaluator().Random(c.place(), shape));
  return Object(low == 0 && high == 1 ? u : u * (high - low) + low);
}

constexpr Function kMakeFunctions[] = {
    {"zeros", "shape dtype?", CallZeros},
    {"ones", "shape dtype?", CallOnes},
    {"full", "shape|size value|fill_value dtype?", CallFull},
    {"fill", "dims|shape value dtype?", CallFull},
    {"full_like", "x value|fill_value", CallFullLike},
    {"zeros_like", "x", CallZerosLike},
    {"ones_like", "x", CallOnesLike},
    {"arange", "n|start|end stop|limit? step|delta? dtype?", CallArange},
    {"range", "n|start|limit stop? step|delta? dtype?", CallArange},
    {"linspace", "start stop|end num|steps", CallLinspace},
    {"eye", "n|num_rows dtype?", CallEye},
    {"constant", "value dtype?", CallConstant},
    {"tensor", "value dtype?", CallConstant},
    {"one_hot", "ids|indices depth|num_classes dtype?", CallOneHot},
    {"random_uniform", "shape low|minval? high|maxval?", CallRandomUniform},
};

}  // namespace

std::span<const Function> MakeFunctions() { return kMakeFunctions; }

}  // namespace strata::expr
