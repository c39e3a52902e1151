// Keras' loss of this name: minus the cosine of the angle.
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

LossTerms Build(Scope& s, const v1::CosineSimilarityLoss& a, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const Value p = args.prediction;
  const int64_t axis = a.axis();
  if (axis >= p.rank() || axis < -p.rank()) {
    s.Fail(absl::StrCat("axis: must name an axis of ", ShapeString(p.shape()), ", got ", axis));
    return {};
  }
  const auto unit = [&](Value v) { return v / Sqrt(Max(ReduceSum(Square(v), {axis}, true), 1e-12)); };
  return {-ReduceSum(unit(LikePrediction(args)) * unit(p), {axis}), {}};
}

}  // namespace

LossComponents CosineSimilarityLoss() { return Loss<v1::CosineSimilarityLoss>("cosine_similarity", &Build); }

}  // namespace strata::nn
