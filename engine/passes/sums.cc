// Sums in the form that takes the fewest passes over memory. Over the last axes and over some that are not next to
// them, as of channels-first activations, they are taken in two: first within rows, which joins the elementwise chain
// before it, then of the few numbers left. Factors that are the same along the summed axes leave the sum: the gradients
// of a normalisation by its scale and by its input are then the same sum.
#include <algorithm>

#include "engine/ops/ops.h"
#include "engine/passes/passes.h"
#include "engine/passes/rewriter.h"

namespace strata {
namespace {

constexpr int64_t kLeastRow = 64;  // elements that are worth a sum of their own

// A value as a product; factors of its own shape that are products are taken apart too.
struct Factors {
  std::vector<Value> values;
  bool negative = false;
};

void Collect(const Value& x, const Shape& shape, Factors* to) {
  constexpr size_t kMost = 8;
  const Op op = x.shape() == shape && to->values.size() < kMost ? ProducerOf(x).op : Op::kInput;
  if (op == Op::kNeg) {
    to->negative = !to->negative;
    Collect(OperandOf(x, 0), shape, to);
  } else if (op == Op::kMul) {
    Collect(OperandOf(x, 0), shape, to);
    Collect(OperandOf(x, 1), shape, to);
  } else {
    to->values.push_back(x);
  }
}

Factors FactorsOf(const Value& x) {
  Factors f;
  Collect(x, x.shape(), &f);
  return f;
}

bool VariesAlong(const Value& x, const std::vector<int64_t>& axes, int rank) {
  return std::any_of(axes.begin(), axes.end(), [&](int64_t a) {
    const int64_t at = a - (rank - x.rank());
    return at >= 0 && x.dim(static_cast<int>(at)) != 1;
  });
}

Value Product(const std::vector<Value>& factors) {
  Value product = factors[0];
  for (size_t i = 1; i < factors.size(); ++i) product = product * factors[i];
  return product;
}

// The sum of x over ascending axes.
Value Sum(const Value& x, const std::vector<int64_t>& axes) {
  const Factors factors = FactorsOf(x);
  std::vector<Value> varying, steady;
  for (const Value& f : factors.values) (VariesAlong(f, axes, x.rank()) ? varying : steady).push_back(f);
  if (varying.empty() || (steady.empty() && !factors.negative)) return ReduceSum(x, axes);
  // Equal products get equal forms.
  std::sort(varying.begin(), varying.end(), [](const Value& a, const Value& b) { return a.id < b.id; });
  const Value inner = Product(varying);
  if (inner.shape() != x.shape()) return ReduceSum(x, axes);
  Value sum = ReduceSum(inner, axes);
  if (factors.negative) sum = -sum;
  if (steady.empty()) return sum;
  const Value outer = Product(steady);
  Shape left, kept(x.rank() - outer.rank(), 1);
  kept.insert(kept.end(), outer.shape().begin(), outer.shape().end());
  for (int d = 0; d < x.rank(); ++d) {
    if (!std::binary_search(axes.begin(), axes.end(), d)) left.push_back(kept[d]);
  }
  return sum * Reshape(outer, left);
}

// How many of the ascending `axes`, from the last one on, are summed first, in rows of their own; 0: all at once. They
// are last axes of x, and what remains is not next to them, or some factor varies along what remains alone.
size_t CountInnerAxes(const Value& x, const std::vector<int64_t>& axes) {
  const std::vector<Value> factors = FactorsOf(x).values;
  size_t adjacent = 0;
  while (adjacent < axes.size() && axes[axes.size() - 1 - adjacent] == x.rank() - 1 - static_cast<int64_t>(adjacent))
    ++adjacent;
  for (size_t count = adjacent; count > 0; --count) {
    const std::vector<int64_t> outer(axes.begin(), axes.end() - count), inner(axes.end() - count, axes.end());
    int64_t row = 1;
    for (const int64_t a : inner) row *= x.dim(static_cast<int>(a));
    if (row < kLeastRow) return 0;
    const bool leaves = std::any_of(factors.begin(), factors.end(), [&](const Value& f) {
      return VariesAlong(f, outer, x.rank()) && !VariesAlong(f, inner, x.rank());
    });
    if (!outer.empty() && (count == adjacent || leaves)) return count;
  }
  return 0;
}

}  // namespace

Graph SimplifySums(const Graph& graph) {
  Rewriter w(graph);
  return Prune(w.Run([&](const Node& node, std::span<const Value> in, std::vector<Value>* results) {
    if (node.op != Op::kReduceSum || in[0].dtype() != DType::kF32) return false;
    std::vector<int64_t> axes = node.as<AxesAttrs>().axes;
    std::sort(axes.begin(), axes.end());
    const auto split = axes.end() - static_cast<std::ptrdiff_t>(CountInnerAxes(in[0], axes));
    const std::vector<int64_t> outer(axes.begin(), split), inner(split, axes.end());
    *results = {inner.empty() ? Sum(in[0], outer) : Sum(Sum(in[0], inner), outer)};
    return true;
  }));
}

}  // namespace strata
