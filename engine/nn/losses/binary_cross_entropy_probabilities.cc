// PyTorch's binary cross entropy of probabilities.
#include "engine/nn/losses/component.h"
#include "engine/nn/losses/pytorch_binary.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

LossTerms Build(Scope& s, const v1::BinaryCrossEntropyProbabilities& a, const LossArgs& args) {
  if (!SameShape(s, args)) return {};
  const Value p = args.prediction.value, t = LikePrediction(args);
  // A NaN passes: what becomes of a step that is not finite is the configuration's to say.
  const auto probabilities = [](Value v) { return Not(Or(Less(v, Like(v, 0)), Greater(v, Like(v, 1)))); };
  s.Require(probabilities(p), "input: must be in [0, 1]");
  s.Require(probabilities(t), "target: must be in [0, 1]");
  Value values = BinaryCrossEntropy(p, t);
  if (a.has_weight()) values = values * LossFactor(s, "weight", a.weight(), a.weight_shape(), values);
  return {values, {}};
}

}  // namespace

LossComponents BinaryCrossEntropyProbabilitiesLoss() {
  return Loss<v1::BinaryCrossEntropyProbabilities>("binary_cross_entropy_probabilities", &Build);
}

}  // namespace strata::nn
