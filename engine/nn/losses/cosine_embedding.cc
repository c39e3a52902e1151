// PyTorch's loss of the angle between two embeddings. At the margin's kink the gradient is zero.
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

// 1 - cos where y = 1, max(0, cos - margin) where y = -1; cos = x y / sqrt((sum x^2 + 1e-12) (sum y^2 + 1e-12)).
LossTerms Build(Scope& s, const v1::CosineEmbedding& a, const LossArgs& args) {
  const Value x = args.prediction, y = args.more[0];
  const absl::StatusOr<Shape> both = BroadcastShape(x.shape(), y.shape());
  bool fits = both.ok() && x.rank() == y.rank() && x.rank() >= 1 && x.rank() <= 2 && args.target.rank() == x.rank() - 1;
  if (fits) fits = BroadcastShape(Shape(both->begin(), both->end() - 1), args.target.shape()).ok();
  if (!fits) {
    s.Fail(absl::StrCat("target|input1|input2: needs two [N, D] and targets [N], got ", ShapeString(x.shape()), ", ",
                        ShapeString(y.shape()), " and ", ShapeString(args.target.shape())));
    return {};
  }
  const auto square = [](Value v) { return ReduceSum(Square(v), {-1}) + 1e-12; };
  const Value cos = ReduceSum(x * y, {-1}) / Sqrt(square(x) * square(y)), t = LikePrediction(args), zero = Like(cos, 0);
  const Value same = Select(Equal(t, Like(t, 1)), 1 - cos, zero);
  return {same + Select(Equal(t, Like(t, -1)), Relu(cos - a.margin()), zero), {}};
}

}  // namespace

LossComponents CosineEmbeddingLoss() {
  return Loss<v1::CosineEmbedding>("cosine_embedding", &Build).Takes(kNumbersAsFloats).Compares(1);
}

}  // namespace strata::nn
