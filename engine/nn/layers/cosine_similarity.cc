// The cosine of the angle between two inputs.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

// The 2-norm along one axis, at least epsilon. The bound changes the value and not the gradient, as PyTorch has it; a
// zero vector has the gradient zero.
Value ClampedNorm(Value x, int64_t axis, double epsilon) {
  const Value squares = ReduceSum(Square(x), {axis}, true);
  const Value positive = Greater(squares, Like(squares, 0));
  const Value norm = Select(positive, Sqrt(Select(positive, squares, Like(squares, 1))), Like(squares, 0));
  return norm + Detach(Max(norm, epsilon) - norm);
}

Outputs BuildCosineSimilarity(Scope& s, const v1::CosineSimilarity& a, const Args& args) {
  Value x = args[0], y = args[1];
  const auto shape = BroadcastShape(x.shape(), y.shape());
  if (!shape.ok()) {
    return {s.Fail(
        absl::StrCat("x1|x2|input: shapes must fit, got ", ShapeString(x.shape()), " and ", ShapeString(y.shape())))};
  }
  const int64_t rank = static_cast<int64_t>(shape->size());
  if (a.axis() < -rank || a.axis() >= rank) {
    return {s.Fail(absl::StrCat("axis|dim: must name one of ", rank, " axes, got ", a.axis()))};
  }
  x = Broadcast(x, *shape);
  y = Broadcast(y, *shape);
  const Value product = (x / ClampedNorm(x, a.axis(), a.epsilon())) * (y / ClampedNorm(y, a.axis(), a.epsilon()));
  return {ReduceSum(product, {a.axis()})};
}

}  // namespace

Components CosineSimilarity() {
  return Layer<v1::CosineSimilarity>("cosine_similarity", &BuildCosineSimilarity)
      .Shapes("x1[a...], x2[b...] -> y[c...]")
      .Takes(kFloats)
      .Arguments({"x1", "x2"})
      .Inputs(2, 2)
      .With("", {{2, 5}, {2, 5}})
      .With("axis: 2", {{2, 3, 7}, {2, 3, 7}})
      .With("axis: -1 epsilon: 0.5", {{3, 1, 4}, {3, 2, 4}})
      .Reject("axis: 3", {{2, 3}, {2, 3}}, "axis");
}

}  // namespace strata::nn
