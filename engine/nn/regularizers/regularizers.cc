// Penalties on parameters and projections of them after an update (declared in scope.h).
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/nn/scope.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

template <typename Axes>
Value Norm(Value w, const Axes& axis) {
  return Sqrt(ReduceSum(Square(w), std::vector<int64_t>(axis.begin(), axis.end()), true));
}

// factor / 2 times the mean of |cosine| over pairs of rows (or columns).
Value Orthogonal(const v1::OrthogonalRegularizer& r, Value w) {
  if (w.rank() != 2) {
    w.graph->Fail(InvalidArgument("orthogonal: needs a matrix, got ", ShapeString(w.shape())));
    return {w.graph, -1};
  }
  const bool rows = r.mode() != "columns";
  const int64_t n = w.dim(rows ? 0 : 1);
  // tf.math.l2_normalize.
  const Value squares = ReduceSum(Square(w), {rows ? 1 : 0}, true);
  const Value unit = w / Sqrt(Max(squares, 1e-12));
  const Value cosines = rows ? MatMul(unit, unit, false, true) : MatMul(unit, unit, true, false);
  const Value diagonal = Equal(Iota(w.graph, {n, n}, 0, DType::kI32), Iota(w.graph, {n, n}, 1, DType::kI32));
  const Value others = Select(diagonal, Like(cosines, 0), Abs(cosines));
  const double pairs = static_cast<double>(n) * static_cast<double>(n - 1) / 2;
  return SumAll(others) * (r.factor() * 0.5 / std::max(pairs, 1.0));
}

// Which element of a kernel's diagonal stands at each place of a square kernel: rings around the centre. As Keras does
// it, ring i of a kernel of size n is kernel[start + i, start + i], start = n / 2.
std::vector<int64_t> RingSources(int64_t n) {
  const int64_t start = n / 2, first = n % 2 == 0 ? 1 : 0;
  std::vector<int64_t> source(static_cast<size_t>(n * n));
  for (int64_t y = 0; y < n; ++y) {
    for (int64_t x = 0; x < n; ++x) {
      // Rings counted from the centre outwards; even sizes have four cells in their centre.
      const int64_t from_edge = std::min(std::min(y, n - 1 - y), std::min(x, n - 1 - x));
      const int64_t rings = (n + 1) / 2, ring = rings - 1 - from_edge;
      const int64_t d = ring == 0 ? start - 1 : start + first + ring - 1;
      source[static_cast<size_t>(y * n + x)] = d * n + d;
    }
  }
  return source;
}

Value Radial(Value w) {
  if (w.rank() != 4 || w.dim(0) != w.dim(1) || w.dim(0) < 2) {
    w.graph->Fail(InvalidArgument("radial: needs square kernels [n, n, channels, filters] of n >= 2, got ",
                                  ShapeString(w.shape())));
    return {w.graph, -1};
  }
  const int64_t n = w.dim(0);
  const Value rows = Reshape(w, {n * n, w.dim(2) * w.dim(3)});
  const Value ids = Constant(w.graph, Tensor::Of(DType::kI64, {n * n}, RingSources(n)));
  return Reshape(Gather(rows, ids), w.shape());
}

}  // namespace

Value Penalty(const v1::Regularizer& r, Value w) {
  if (r.has_orthogonal()) return Orthogonal(r.orthogonal(), w);
  Value sum;
  if (r.l1() != 0) sum = SumAll(Abs(w)) * r.l1();
  if (r.l2() != 0) {
    const Value l2 = SumAll(Square(w)) * r.l2();
    sum = sum ? sum + l2 : l2;
  }
  return sum ? sum : Scalar(w.graph, 0);
}

Value Project(const v1::Constraint& c, Value w) {
  switch (c.kind_case()) {
    case v1::Constraint::kMaxNorm: {
      const Value n = Norm(w, c.max_norm().axis());
      return w * (Min(n, c.max_norm().max_value()) / (n + 1e-7));
    }
    case v1::Constraint::kMinMaxNorm: {
      const v1::MinMaxNormConstraint& a = c.min_max_norm();
      const Value n = Norm(w, a.axis());
      const Value wanted = Min(Max(n, a.min_value()), a.max_value()) * a.rate() + n * (1 - a.rate());
      return w * (wanted / (n + 1e-7));
    }
    case v1::Constraint::kNonNeg:
      return Max(w, 0);
    case v1::Constraint::kUnitNorm:
      return w / (Norm(w, c.unit_norm().axis()) + 1e-7);
    case v1::Constraint::kRadial:
      return Radial(w);
    case v1::Constraint::KIND_NOT_SET:
      break;
  }
  return w;
}

}  // namespace strata::nn
