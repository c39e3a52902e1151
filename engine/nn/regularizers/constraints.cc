// Projections of parameters after an update (declared in scope.h): a line or a few each, so they stand together.
#include <algorithm>

#include "engine/base/status.h"
#include "engine/nn/scope.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

template <typename Axes>
Value Norm(Value w, const Axes& axis) {
  return Sqrt(ReduceSum(Square(w), std::vector<int64_t>(axis.begin(), axis.end()), true));
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
