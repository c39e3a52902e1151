// Keras' dot-product attention.
#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/layers/keras_attention.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::Attention& a, const Args& args) {
  const AttentionInputs in = AttentionInputsOf(s, args);
  if (!s.ok()) return {Value{s.graph(), -1}};
  Value scale;
  if (a.use_scale()) scale = s.Param("scale", {}, {.initializer = ConstantValue(1)});
  Value scores;
  if (a.score_mode() == "concat") {
    scores = PairSum(in.q, in.k, scale, {}) * s.Param("concat_score_weight", {}, {.initializer = ConstantValue(1)});
  } else {
    scores = MatMul(in.q, in.k, false, true);
    if (scale) scores = scores * scale;
  }
  return FinishAttention(s, in, scores, a.dropout(), a.causal(), a.return_attention_scores());
}

}  // namespace

Components Attention() {
  return Layer<v1::Attention>("attention", &Build)
      .Shapes("q[N, T, D], v[N, S, E], k[N, S, D] -> y[N, T, E], scores[N, T, S]")
      .Takes(kFloats)
      .Inputs(2, 3)
      .Mask(MaskRule::kConsume)
      .Named(v1::KERAS, {"query_mask", "value_mask"})
      .With({"use_scale: true", {{2, 3, 4}, {2, 5, 4}}, v1::KERAS})
      .With({"causal: true return_attention_scores: true", {{1, 3, 4}, {1, 3, 2}, {1, 3, 4}}, v1::KERAS})
      .With({"score_mode: \"concat\" dropout: 0.5", {{2, 1, 3}, {2, 4, 3}}, v1::KERAS});
}

}  // namespace strata::nn
