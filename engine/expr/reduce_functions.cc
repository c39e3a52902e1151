// Functions that reduce axes, and the softmax family.
#include <algorithm>
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

// TensorFlow's keeps integers, rounded towards zero.
Result CallReduceMean(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Reduction r, ReductionOf(c, false));
  const bool truths = r.x.dtype() == DType::kBool;
  if (c.evaluator().pytorch() || IsFloat(r.x.dtype()) || truths) {
    const Value x = IsFloat(r.x.dtype()) ? r.x : Cast(r.x, DType::kF32);
    return Object(Mean(r, x, r.keepdims));
  }
  if (r.count == 0) return c.Error("must have an element, got ", Describe(Object(r.x)));
  return Object(Mean(r, r.x, r.keepdims));
}
Result CallMean(const Call& c) {
  if (c.OfBackend()) return CallReduceMean(c);
  STRATA_ASSIGN_OR_RETURN(const Reduction r, ReductionOf(c, true));
  return Object(Mean(r, r.x, r.keepdims));
}

// The sum of squared distances from the mean over the number of elements; in PYTORCH over one less, unless unbiased is
// False or correction another number.
absl::StatusOr<Value> Variance(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Reduction r, ReductionOf(c, true));
  STRATA_ASSIGN_OR_RETURN(double less, c.Real(4, c.evaluator().pytorch() ? 1 : 0));
  if (c.has(3)) {
    STRATA_ASSIGN_OR_RETURN(const bool unbiased, c.Flag(3));
    less = unbiased ? 1 : 0;
  }
  const Value squares = ReduceSum(Square(r.x - Mean(r, r.x, true)), r.axes, r.keepdims);
  return squares / std::max(static_cast<double>(r.count) - less, 0.0);
}
Result CallVar(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value v, Variance(c));
  return Object(v);
}
Result CallStd(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value v, Variance(c));
  return Object(Sqrt(v));
}

// The first element along `axis` that is the largest; the whole gradient goes to it.
Value FirstLargest(Value x, Value by, int axis, bool keepdims) {
  const Value place = Iota(x.graph, x.shape(), axis, DType::kI32);
  const Value found = Equal(place, ExpandDims(ArgMax(by, axis), axis));
  return ReduceSum(Select(found, x, Like(x, 0)), {axis}, keepdims);
}

template <Value (*F)(Value, std::vector<int64_t>, bool)>
Result Extremum(const Call& c) {
  // Python's, of two numbers.
  const Number* a = c.argument(0)->number();
  const Number* b = c.has(1) ? c.argument(1)->number() : nullptr;
  if (a != nullptr && b != nullptr) {
    const bool first = F == ReduceMax ? a->AsDouble() >= b->AsDouble() : a->AsDouble() <= b->AsDouble();
    c.evaluator().Use(*a);
    c.evaluator().Use(*b);
    return Object(first ? *a : *b);
  }
  // PyTorch's max(a, b).
  if (c.evaluator().pytorch() && c.argument(1) != nullptr && c.argument(1)->tensor() != nullptr) {
    return FindFunction(F == ReduceMax ? "maximum" : "minimum")->call(c);
  }
  STRATA_ASSIGN_OR_RETURN(const Reduction r, ReductionOf(c, false));
  if (r.count == 0) return c.Error("must have an element, got ", Describe(Object(r.x)));
  if (r.x.dtype() == DType::kBool) return Object(Cast(F(Cast(r.x, DType::kI32), r.axes, r.keepdims), DType::kBool));
  if (c.GivesPair() && r.axes.size() == 1 && IsFloat(r.x.dtype())) {
    return Object(FirstLargest(r.x, F == ReduceMax ? r.x : -r.x, static_cast<int>(r.axes[0]), r.keepdims));
  }
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

// (sum |x|^p)^(1/p); inf: the largest. PyTorch's gradient of zeros is 0, TensorFlow's NaN.
Value NormOf(const Reduction& r, double p, bool keepdims, bool flat_at_zero) {
  if (p == 2) {
    const Value sum = ReduceSum(Square(r.x), r.axes, keepdims), zero = Equal(sum, Like(sum, 0));
    if (!flat_at_zero) return Sqrt(sum);
    return Select(zero, Like(sum, 0), Sqrt(Select(zero, Like(sum, 1), sum)));
  }
  if (p == 1) return ReduceSum(Abs(r.x), r.axes, keepdims);
  if (std::isinf(p)) return ReduceMax(Abs(r.x), r.axes, keepdims);
  const Value sum = ReduceSum(Pow(Abs(r.x), Like(r.x, p)), r.axes, keepdims);
  return Pow(sum, Like(sum, 1 / p));
}
absl::StatusOr<double> OrderOf(const Call& c, size_t i) {
  if (c.has(i) && c.argument(i)->text() != nullptr) {
    const std::string& text = *c.argument(i)->text();
    if (text == "euclidean" || text == "fro") return 2;
  }
  STRATA_ASSIGN_OR_RETURN(const double p, c.Real(i, 2));
  if (!(p > 0)) return c.Error("ord must be > 0, got ", p);
  return p;
}
// The order comes before the axis, as in both frameworks.
Result CallNorm(const Call& c) {
  Reduction r;
  STRATA_ASSIGN_OR_RETURN(r.x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const double p, OrderOf(c, 1));
  STRATA_ASSIGN_OR_RETURN(r.axes, c.Axes(2, r.x.rank()));
  STRATA_ASSIGN_OR_RETURN(r.keepdims, c.Flag(3));
  for (int64_t a : r.axes) r.count *= r.x.dim(static_cast<int>(a));
  if (r.count == 0) return c.Error("must have an element, got ", Describe(Object(r.x)));
  return Object(NormOf(r, p, r.keepdims, c.evaluator().pytorch()));
}
// x / max(|x|_p, eps), along axis 1 by default.
Result CallEuclideanNorm(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Reduction r, ReductionOf(c, true));
  return Object(NormOf(r, 2, r.keepdims, false));
}
Result CallNormalize(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const double p, OrderOf(c, 1));
  Reduction r{.x = x};
  if (c.has(2)) {
    STRATA_ASSIGN_OR_RETURN(r.axes, c.Axes(2, x.rank()));
  } else {
    if (x.rank() < 2) return c.Error("x must have 2 axes, got ", Describe(Object(x)));
    r.axes = {1};
  }
  STRATA_ASSIGN_OR_RETURN(const double eps, c.Real(3, 1e-12));
  return Object(x / Max(NormOf(r, p, true, true), eps));
}
// x / sqrt(max(sum x^2, epsilon)): TensorFlow's.
Result CallL2Normalize(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const std::vector<int64_t> axes, c.Axes(1, x.rank()));
  STRATA_ASSIGN_OR_RETURN(const double epsilon, c.Real(2, 1e-12));
  return Object(x / Sqrt(Max(ReduceSum(Square(x), axes, true), epsilon)));
}

// y[i] = x[0] + ... + x[i] (or the product), in log2(n) steps: each adds what stands 1, 2, 4, ... places before.
Value Running(Value x, int axis, bool product) {
  const int64_t size = x.dim(axis);
  for (int64_t step = 1; step < size; step *= 2) {
    std::vector<int64_t> lo(x.rank(), 0), hi(x.rank(), 0);
    lo[axis] = step;
    const Value before = Pad(SliceAxis(x, axis, 0, size - step), lo, hi, product ? 1 : 0);
    x = product ? x * before : x + before;
  }
  return x;
}
Result Cumulative(const Call& c, bool product) {
  STRATA_ASSIGN_OR_RETURN(Value x, c.Tensor(0));
  if (x.dtype() == DType::kBool) x = Cast(x, DType::kI64);
  if (x.rank() == 0) return c.Error("x must have an axis, got ", Describe(Object(x)));
  int axis = 0;
  if (c.has(1)) {
    STRATA_ASSIGN_OR_RETURN(axis, c.Axis(1, x.rank()));
  }
  STRATA_ASSIGN_OR_RETURN(const bool exclusive, c.Flag(2));
  STRATA_ASSIGN_OR_RETURN(const bool reverse, c.Flag(3));
  // TensorFlow's gradient of a product is 0 at zeros.
  if (product && !c.evaluator().pytorch() && IsFloat(x.dtype())) x = Select(Equal(x, Like(x, 0)), Detach(x), x);
  if (reverse) x = Reverse(x, {axis});
  if (exclusive && x.dim(axis) > 0) {
    std::vector<int64_t> lo(x.rank(), 0), hi(x.rank(), 0);
    lo[axis] = 1;
    hi[axis] = -1;
    x = Pad(x, lo, hi, product ? 1 : 0);
  }
  const Value y = Running(x, axis, product);
  return Object(reverse ? Reverse(y, {axis}) : y);
}
Result CallCumSum(const Call& c) { return Cumulative(c, false); }
Result CallCumProd(const Call& c) { return Cumulative(c, true); }

// Halves of each axis are multiplied until one element is left.
Result CallProd(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Reduction r, ReductionOf(c, false));
  Value x = r.x.dtype() == DType::kBool ? Cast(r.x, DType::kI64) : r.x;
  if (r.count == 0) return c.Error("must have an element, got ", Describe(Object(r.x)));
  for (const int64_t a : r.axes) {
    const int axis = static_cast<int>(a);
    while (x.dim(axis) > 1) {
      const int64_t half = x.dim(axis) / 2, rest = x.dim(axis) - 2 * half;
      Value y = SliceAxis(x, axis, 0, half) * SliceAxis(x, axis, half, half);
      if (rest > 0) {
        const Value both[] = {y, SliceAxis(x, axis, 2 * half, 1)};
        y = Concat(both, axis);
      }
      x = y;
    }
  }
  if (r.keepdims) return Object(x);
  Shape shape;
  for (int i = 0; i < x.rank(); ++i) {
    if (std::find(r.axes.begin(), r.axes.end(), i) == r.axes.end()) shape.push_back(x.dim(i));
  }
  return Object(Reshape(x, shape));
}

Result CallCountNonzero(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Reduction r, ReductionOf(c, false));
  return Object(ReduceSum(Cast(Not(Equal(r.x, Like(r.x, 0))), DType::kI64), r.axes, r.keepdims));
}

Result Winner(const Call& c, bool largest) {
  STRATA_ASSIGN_OR_RETURN(Value x, c.Tensor(0));
  if (!IsFloat(x.dtype())) x = Cast(x, x.dtype() == DType::kI64 ? DType::kF64 : DType::kF32);
  // keras.backend's takes the last axis, TensorFlow's the first.
  const bool backend = c.OfBackend();
  const bool first = c.module() == "tf" || (c.module() == "math" && !c.evaluator().pytorch());
  if (!c.has(1) && !backend && !first) x = Reshape(x, {x.num_elements()});
  int axis = backend ? std::max(x.rank() - 1, 0) : 0;
  if (c.has(1)) {
    STRATA_ASSIGN_OR_RETURN(axis, c.Axis(1, x.rank()));
  }
  STRATA_ASSIGN_OR_RETURN(const bool keepdims, c.Flag(2));
  if (x.rank() == 0) return Object(Like(Cast(x, DType::kI64), 0));
  if (x.dim(axis) == 0) return c.Error("must have an element, got ", Describe(Object(x)));
  const Value y = Cast(ArgMax(largest ? x : -x, axis), DType::kI64);
  return Object(keepdims && c.has(1) ? ExpandDims(y, axis) : y);
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

Result CallSoftmin(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const int axis, c.Axis(1, x.rank()));
  return Object(Softmax(-x, axis));
}

constexpr char kReduce[] = "x axis|dim? keepdims|keepdim?";
constexpr char kSpread[] = "x axis|dim? keepdims|keepdim? unbiased? correction?";
constexpr char kNorm[] = "x ord|p? axis|dim? keepdims|keepdim?";
constexpr char kRunning[] = "x axis|dim? exclusive? reverse?";

constexpr Function kReduceFunctions[] = {
    {"sum", kReduce, CallSum},
    {"reduce_sum", kReduce, CallSum},
    {"mean", kReduce, CallMean},
    {"reduce_mean", kReduce, CallReduceMean},
    {"var", kSpread, CallVar},
    {"reduce_variance", kReduce, CallVar},
    {"std", kSpread, CallStd},
    {"reduce_std", kReduce, CallStd},
    {"prod", kReduce, CallProd},
    {"reduce_prod", kReduce, CallProd},
    {"cumsum", kRunning, CallCumSum},
    {"cumprod", kRunning, CallCumProd},
    {"count_nonzero", kReduce, CallCountNonzero},
    {"max", kReduce, Extremum<ReduceMax>},
    {"reduce_max", kReduce, Extremum<ReduceMax>},
    {"amax", kReduce, Extremum<ReduceMax>},
    {"min", kReduce, Extremum<ReduceMin>},
    {"reduce_min", kReduce, Extremum<ReduceMin>},
    {"amin", kReduce, Extremum<ReduceMin>},
    {"any", kReduce, Truths<ReduceMax>},
    {"all", kReduce, Truths<ReduceMin>},
    {"reduce_any", kReduce, Truths<ReduceMax>},
    {"reduce_all", kReduce, Truths<ReduceMin>},
    {"logsumexp", kReduce, CallLogSumExp},
    {"reduce_logsumexp", kReduce, CallLogSumExp},
    {"norm", kNorm, CallNorm},
    {"vector_norm", kNorm, CallNorm},
    {"reduce_euclidean_norm", kReduce, CallEuclideanNorm},
    {"normalize", "x ord|p? axis|dim? eps?", CallNormalize},
    {"l2_normalize", "x axis|dim? epsilon?", CallL2Normalize},
    {"argmax", "x axis|dim? keepdims|keepdim?", CallArgMax},
    {"argmin", "x axis|dim? keepdims|keepdim?", CallArgMin},
    {"softmax", "x axis|dim?", AlongAxis<Softmax>},
    {"log_softmax", "x axis|dim?", AlongAxis<LogSoftmax>},
    {"softmin", "x axis|dim", CallSoftmin},
};

}  // namespace

std::span<const Function> ReduceFunctions() { return kReduceFunctions; }

}  // namespace strata::expr
