// Keras' hinge between the right class and the best of the others.
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// max(largest score of a wrong class - score of the right one + 1, 0)
LossTerms Build(Scope& s, const v1::CategoricalHinge&, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const Value t = LikePrediction(args), p = args.prediction;
  const Value right = ReduceSum(t * p, {-1}), wrong = ReduceMax((1 - t) * p, {-1});
  return {Max(wrong - right + 1, 0), {}};
}

}  // namespace

LossComponents CategoricalHingeLoss() { return Loss<v1::CategoricalHinge>("categorical_hinge", &Build); }

}  // namespace strata::nn
