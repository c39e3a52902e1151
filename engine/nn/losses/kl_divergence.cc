// Keras' Kullback-Leibler divergence of probabilities.
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// sum t ln(t / p), both clipped to [1e-7, 1]
LossTerms Build(Scope& s, const v1::KlDivergence&, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const auto clip = [](Value v) { return Min(Max(v, 1e-7), 1.0); };
  const Value t = clip(LikePrediction(args)), p = clip(args.prediction);
  return {ReduceSum(t * Log(t / p), {-1}), {}};
}

}  // namespace

LossComponents KlDivergenceLoss() { return Loss<v1::KlDivergence>("kl_divergence", &Build); }

}  // namespace strata::nn
