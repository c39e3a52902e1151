// Functions that reduce axes, and the softmax family.
#include <cmath>

#include "engine/base/status.h"
#include "engine/expr/functions.h"
#include "engine/ops/ops.h"

namespace strata::expr {
namespace {

using Result = absl::StatusOr<Object>;

// The tensor, the axes and keepdims of a reduction.
struct Reduction {
  Value x;
  std::vector<int64_t> axes;
  bool keepdims = false;
  int64_t count = 1;  // of elements that become one
};

absl::StatusOr<Reduction> ReductionOf(const Call& c, bool floats) {
  Reduction r;
  if (c.argument(1) != nullptr && c.argument(1)->tensor() != nullptr) {
    return c.Error("axis must be an integer (maximum() and minimum() compare two tensors), got ",
                   Describe(*c.argument(1)));
  }
  STRATA_ASSIGN_OR_RETURN(r.x, floats ? c.Float(0) : c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(r.axes, c.Axes(1, r.x.rank()));
  STRATA_ASSIGN_OR_RETURN(r.keepdims, c.Flag(2));
  for (int64_t a : r.axes) r.count *= r.x.dim(static_cast<int>(a));
  return r;
}

Value Mean(const Reduction& r, Value x, bool keepdims) {
  return ReduceSum(x, r.axes, keepdims) / static_cast<double>(r.count);
}

// Integers keep their type; truth values are counted.
Result CallSum(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Reduction r, ReductionOf(c, false));
  const Value x = r.x.dtype() == DType::kBool ? Cast(r.x, DType::kI64) : r.x;
  return Object(ReduceSum(x, r.axes, r.keepdims));
}

Result CallMean(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Reduction r, ReductionOf(c, true));
  return Object(Mean(r, r.x, r.keepdims));
}

// The mean of squared distances from the mean: divided by the number of elements.
absl::StatusOr<Value> Variance(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Reduction r, ReductionOf(c, true));
  return Mean(r, Square(r.x - Mean(r, r.x, true)), r.keepdims);
}
Result CallVar(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value v, Variance(c));
  return Object(v);
}
Result CallStd(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value v, Variance(c));
  return Object(Sqrt(v));
}

template <Value (*F)(Value, std::vector<int64_t>, bool)>
Result Extremum(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Reduction r, ReductionOf(c, false));
  if (r.count == 0) return c.Error("must have an element, got ", Describe(Object(r.x)));
  if (r.x.dtype() == DType::kBool) return Object(Cast(F(Cast(r.x, DType::kI32), r.axes, r.keepdims), DType::kBool));
  return Object(F(r.x, r.axes, r.keepdims));
}

template <Value (*F)(Value, std::vector<int64_t>, bool)>
Result Truths(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Reduction r, ReductionOf(c, false));
  if (r.count == 0) return c.Error("must have an element, got ", Describe(Object(r.x)));
  const Value truth = r.x.dtype() == DType::kBool ? r.x : Not(Equal(r.x, Like(r.x, 0)));
  return Object(Cast(F(Cast(truth, DType::kI32), r.axes, r.keepdims), DType::kBool));
}

Result CallLogSumExp(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Reduction r, ReductionOf(c, true));
  if (r.count == 0) return c.Error("must have an element, got ", Describe(Object(r.x)));
  // The largest element comes out, so that nothing overflows; it is a constant of the derivative.
  const Value largest = Detach(ReduceMax(r.x, r.axes, true));
  const Value finite = Select(Unary(Op::kIsFinite, largest), largest, Like(largest, 0));
  const Value y = Log(ReduceSum(Exp(r.x - finite), r.axes, true)) + finite;
  if (r.keepdims) return Object(y);
  return Object(ReduceSum(y, r.axes, false));
}

Result CallNorm(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Reduction r, ReductionOf(c, true));
  return Object(Sqrt(ReduceSum(Square(r.x), r.axes, r.keepdims)));
}

Result Winner(const Call& c, bool largest) {
  STRATA_ASSIGN_OR_RETURN(Value x, c.Tensor(0));
  if (!IsFloat(x.dtype())) x = Cast(x, x.dtype() == DType::kI64 ? DType::kF64 : DType::kF32);
  if (!c.has(1)) x = Reshape(x, {x.num_elements()});
  int axis = 0;
  if (c.has(1)) {
    STRATA_ASSIGN_OR_RETURN(axis, c.Axis(1, x.rank()));
  }
  if (x.dim(axis) == 0) return c.Error("must have an element, got ", Describe(Object(x)));
  return Object(Cast(ArgMax(largest ? x : -x, axis), DType::kI64));
}
Result CallArgMax(const Call& c) { return Winner(c, true); }
Result CallArgMin(const Call& c) { return Winner(c, false); }

template <Value (*F)(Value, int)>
Result AlongAxis(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  if (x.rank() == 0) return c.Error("x must have an axis, got ", Describe(Object(x)));
  int axis = x.rank() - 1;
  if (c.has(1)) {
    STRATA_ASSIGN_OR_RETURN(axis, c.Axis(1, x.rank()));
  }
  return Object(F(x, axis));
}

constexpr char kReduce[] = "x axis|dim? keepdims|keepdim?";

constexpr Function kFunctions[] = {
    {"sum", kReduce, CallSum},
    {"reduce_sum", kReduce, CallSum},
    {"mean", kReduce, CallMean},
    {"reduce_mean", kReduce, CallMean},
    {"var", kReduce, CallVar},
    {"std", kReduce, CallStd},
    {"max", kReduce, Extremum<ReduceMax>},
    {"reduce_max", kReduce, Extremum<ReduceMax>},
    {"amax", kReduce, Extremum<ReduceMax>},
    {"min", kReduce, Extremum<ReduceMin>},
    {"reduce_min", kReduce, Extremum<ReduceMin>},
    {"amin", kReduce, Extremum<ReduceMin>},
    {"any", kReduce, Truths<ReduceMax>},
    {"all", kReduce, Truths<ReduceMin>},
    {"logsumexp", kReduce, CallLogSumExp},
    {"norm", kReduce, CallNorm},
    {"argmax", "x axis|dim?", CallArgMax},
    {"argmin", "x axis|dim?", CallArgMin},
    {"softmax", "x axis|dim?", AlongAxis<Softmax>},
    {"log_softmax", "x axis|dim?", AlongAxis<LogSoftmax>},
};

}  // namespace

std::span<const Function> ReduceFunctions() { return kFunctions; }

}  // namespace strata::expr
