// Penalties on parameters (declared in scope.h).
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/nn/scope.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

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

}  // namespace strata::nn
