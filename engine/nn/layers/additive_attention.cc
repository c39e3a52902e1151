// Keras' additive attention (Bahdanau).
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/keras_attention.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::AdditiveAttention& a, const Args& args) {
  const AttentionInputs in = AttentionInputsOf(s, args);
  if (!s.ok()) return {Value{s.graph(), -1}};
  Value scale;
  if (a.use_scale()) {
    // One feature spreads over the other's.
    if (in.v.dim(2) != in.q.dim(2) && in.v.dim(2) != 1 && in.q.dim(2) != 1) {
      return {s.Fail(absl::StrCat("use_scale|inputs: query and value must have as many features, got ", in.q.dim(2),
                                  " and ", in.v.dim(2)))};
    }
    v1::Initializer glorot;
    glorot.mutable_variance_scaling()->set_scale(1);
    glorot.mutable_variance_scaling()->set_mode(v1::VarianceScalingInitializer::FAN_AVG);
    glorot.mutable_variance_scaling()->set_distribution(v1::VarianceScalingInitializer::UNIFORM);
    scale = s.Param("scale", {in.v.dim(2)}, {.initializer = glorot});
  }
  return FinishAttention(s, in, PairSum(in.q, in.k, {}, scale), a.dropout(), a.causal(), a.return_attention_scores());
}

}  // namespace

Components AdditiveAttention() {
  return Layer<v1::AdditiveAttention>("additive_attention", &Build)
      .Shapes("q[N, T, D], v[N, S, E], k[N, S, D] -> y[N, T, E], scores[N, T, S]")
      .Takes(kFloats)
      .Inputs(2, 3)
      .Mask(MaskRule::kConsume)
      .Named(v1::KERAS, {"query_mask", "value_mask"})
      .With({"", {{2, 3, 4}, {2, 5, 4}}, v1::KERAS})
      .With({"use_scale: false causal: true", {{1, 3, 4}, {1, 3, 2}, {1, 3, 4}}, v1::KERAS})
      .With({"return_attention_scores: true", {{2, 1, 3}, {2, 2, 3}}, v1::KERAS});
}

}  // namespace strata::nn
