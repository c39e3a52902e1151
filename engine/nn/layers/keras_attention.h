// What Keras' attentions share: masks, and what follows the scores.
#pragma once

#include "engine/nn/scope.h"

namespace strata::nn {

// -1e9 where a bool mask is false; nothing where it is true. Scores of an all-masked row become equal.
Value MaskScores(Value scores, Value keep);
// bool [T, S]: key s <= query t.
Value CausalMask(Graph* g, int64_t queries, int64_t keys);

// Query [N, T, D], value [N, S, E] and key [N, S, D] of a layer without heads, with their masks.
struct AttentionInputs {
  Value q, v, k, q_mask, v_mask;
};
AttentionInputs AttentionInputsOf(Scope& s, const Args& args);

// The sum over features of tanh(q + k) for every pair: [N, T, S]. The scales may be empty.
Value PairSum(Value q, Value k, Value scale_before, Value scale_after);

// softmax of masked scores [N, T, S], dropout, and the weighted values; rows of masked queries are zero.
Outputs FinishAttention(Scope& s, const AttentionInputs& in, Value scores, double dropout, bool causal,
                        bool return_scores);

}  // namespace strata::nn
