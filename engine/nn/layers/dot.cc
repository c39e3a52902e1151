// Keras' Dot: products over one axis of two inputs.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Batched product contracted over one axis of each operand; (N, D) operands give (N, 1).
Outputs Build(Scope& s, const v1::Dot& a, const Args& args) {
  Value x = args[0].value, y = args[1].value;
  if (a.axes_size() < 1 || a.axes_size() > 2)
    return {s.Fail(absl::StrCat("axes: must have one or two entries, got ", a.axes_size()))};
  if (x.rank() < 2 || y.rank() < 2 || x.rank() > 3 || y.rank() > 3) {
    return {s.Fail(absl::StrCat("inputs: must have two or three axes, got ", ShapeString(x.shape()), " and ",
                                ShapeString(y.shape())))};
  }
  const int ax = static_cast<int>(a.axes(0) < 0 ? a.axes(0) + x.rank() : a.axes(0));
  const int64_t last = a.axes(a.axes_size() - 1);
  const int ay = static_cast<int>(last < 0 ? last + y.rank() : last);
  if (ax < 1 || ax >= x.rank() || ay < 1 || ay >= y.rank()) {
    return {s.Fail(absl::StrCat("axes|inputs: must name axes behind the batch, got ", a.axes(0), " and ", last))};
  }
  if (x.dim(ax) != y.dim(ay)) {
    return {s.Fail(absl::StrCat("inputs|axes: contracted sizes must be equal, got ", x.dim(ax), " and ", y.dim(ay)))};
  }
  if (x.dim(0) != y.dim(0)) {
    return {s.Fail(absl::StrCat("inputs: must have batches of equal sizes, got ", x.dim(0), " and ", y.dim(0)))};
  }
  if (a.normalize()) {
    const auto unit = [](Value v, int axis) { return v / Sqrt(Max(ReduceSum(Square(v), {axis}, true), 1e-12)); };
    x = unit(x, ax);
    y = unit(y, ay);
  }
  // [N, rows, K] x [N, K, columns]
  Shape shape{x.dim(0)};
  Value p = x.rank() == 2 ? ExpandDims(x, 1) : (ax == 1 ? SwapAxes(x, 1, 2) : x);
  Value q = y.rank() == 2 ? ExpandDims(y, 2) : (ay == 2 ? SwapAxes(y, 1, 2) : y);
  if (x.rank() == 3) shape.push_back(x.dim(ax == 1 ? 2 : 1));
  if (y.rank() == 3) shape.push_back(y.dim(ay == 1 ? 2 : 1));
  if (shape.size() == 1) shape.push_back(1);
  return {Reshape(MatMul(p, q), shape)};
}

}  // namespace

Components Dot() {
  return Layer<v1::Dot>("dot", &Build)
      .Shapes("x[N, a...], y[N, b...] -> z[N, c...]")
      .Takes(kNumbers)
      .Inputs(2, 2)
      .With("axes: 1", {{2, 3}, {2, 3}})
      .With("axes: [2, 1]", {{2, 3, 4}, {2, 4, 5}})
      .With("axes: 1 normalize: true", {{3, 4}, {3, 4}});
}

}  // namespace strata::nn
