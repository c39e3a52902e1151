// torch.nn.MultiheadAttention without its layer: the transformers attend with it too.
#pragma once

#include <string>

#include "engine/nn/scope.h"

namespace strata::nn {

// torch.nn.MultiheadAttention's options beyond its parameters.
struct HeadOptions {
  int64_t heads = 1;
  double dropout = 0;
  bool use_bias = true, add_bias_kv = false, add_zero_attn = false;
  bool separate_weights = false;  // q_proj_weight, k_proj_weight, v_proj_weight in place of in_proj_weight
  // A query that may see no key gets zeros, as from scaled_dot_product_attention, and not NaN.
  bool zero_unseeing = false;
  bool causal = false;
  // Masks, or empty: bool (true = ignore) or float (added). attn_mask [T, S] or [N * heads, T, S]; key_padding_mask [N,
  // S].
  Value attn_mask, key_padding_mask;
  // What the caller's arguments are called, for errors.
  std::string mask_name = "attn_mask", padding_name = "key_padding_mask";
};
struct HeadResult {
  Value output;   // [N, T, E]
  Value weights;  // [N, heads, T, S]
};
// The parameters, in the order in which PyTorch's module registers them; uses may come in any order.
void DeclareHeads(Scope& s, const HeadOptions& options, int64_t width, int64_t kdim, int64_t vdim);
// Query [N, T, E], key [N, S, kdim], value [N, S, vdim]; parameters in_proj_weight, out_proj.weight and so on under the
// scope.
HeadResult MultiHead(Scope& s, Value query, Value key, Value value, const HeadOptions& options);

}  // namespace strata::nn
