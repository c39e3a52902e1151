// PyTorch's loss of distances. At the margin's kink the gradient is zero.
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// x where t = 1, max(0, margin - x) where t = -1.
LossTerms Build(Scope& s, const v1::HingeEmbedding& a, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const Value x = args.prediction, t = LikePrediction(args), zero = Like(x, 0);
  const Value far = Relu(a.margin() - x);
  return {Select(Equal(t, Like(t, 1)), zero, far) + Select(Equal(t, Like(t, -1)), zero, x), {}};
}

}  // namespace

LossComponents HingeEmbeddingLoss() {
  return Loss<v1::HingeEmbedding>("hinge_embedding", &Build).Takes(kNumbersAsFloats);
}

}  // namespace strata::nn
