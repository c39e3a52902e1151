// PyTorch's loss of two scores' order. At the margin's kink the gradient is zero.
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

LossTerms Build(Scope& s, const v1::MarginRanking& a, const LossArgs& args) {
  const Shape &x = args.prediction.value.shape(), &y = args.more[0].value.shape(), &t = args.target.shape();
  const absl::StatusOr<Shape> both = BroadcastShape(x, y);
  if (x.size() != y.size() || x.size() != t.size() || !both.ok() || !BroadcastShape(*both, t).ok()) {
    s.Fail(absl::StrCat("input1|input2|target: must have as many axes and sizes that fit, got ", ShapeString(x), ", ",
                        ShapeString(y), " and ", ShapeString(t)));
    return {};
  }
  const Value difference = args.prediction.value - args.more[0].value;
  return {Relu(a.margin() - LikePrediction(args) * difference), {}};
}

}  // namespace

LossComponents MarginRankingLoss() {
  return Loss<v1::MarginRanking>("margin_ranking", &Build).Takes(kNumbersAsFloats).Compares(1);
}

}  // namespace strata::nn
