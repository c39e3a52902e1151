#include "engine/nn/layers/transformer_layers.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/layers/dropout.h"
#include "engine/nn/layers/multihead_attention.h"
#include "engine/nn/layers/normalization.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Value Gelu(Value x) { return x * 0.5 * (Erf(x * M_SQRT1_2) + 1); }

// The two linear maps with their dropouts; M is either layer's message.
template <typename M>
Value FeedForward(Scope& s, const M& a, Value x, const char* last_dropout) {
  const auto linear = [&](const char* name, Value v, int64_t out) {
    Scope inner = s.Enter(name, name, true, std::nullopt);
    const v1::Initializer init = Uniform(1 / std::sqrt(static_cast<double>(v.dim(-1))));
    Value y = MatMul(v, inner.Param("weight", {out, v.dim(-1)}, {.initializer = init}), false, true);
    return a.use_bias() ? y + inner.Param("bias", {out}, {.initializer = init}) : y;
  };
  const auto drop = [&](Value v, const char* name) {
    return s.training() ? DropWith(s, v, a.dropout(), v.shape(), name) : v;
  };
  Value hidden = linear("linear1", x, a.dim_feedforward());
  hidden = drop(a.activation() == "gelu" ? Gelu(hidden) : Relu(hidden), "dropout");
  return drop(linear("linear2", hidden, x.dim(-1)), last_dropout);
}

template <typename M>
Value Norm(Scope& s, const M& a, const char* name, Value x) {
  Scope inner = s.Enter(name, name, true, std::nullopt);
  return LayerNormOf(inner, x, a.layer_norm_eps(), a.use_bias());
}

template <typename M>
Value Attend(Scope& s, const M& a, const char* name, const char* dropout, Value query, Value memory, Value mask,
             Value padding, const std::string& mask_name, const char* padding_name) {
  Scope inner = s.Enter(name, name, true, std::nullopt);
  HeadOptions o{.heads = a.nhead(), .dropout = a.dropout(), .use_bias = a.use_bias(), .zero_unseeing = true};
  o.attn_mask = mask;
  o.key_padding_mask = padding;
  o.mask_name = mask_name;
  o.padding_name = padding_name;
  const Value y = MultiHead(inner, query, memory, memory, o).output;
  return s.training() ? DropWith(s, y, a.dropout(), y.shape(), dropout) : y;
}

// x + f(norm(x)) or norm(x + f(x)).
template <typename M, typename F>
Value Residual(Scope& s, const M& a, const char* norm, Value x, F f) {
  return a.norm_first() ? x + f(Norm(s, a, norm, x)) : Norm(s, a, norm, x + f(x));
}

// The parameters, in the order in which PyTorch's modules register theirs.
template <typename M>
void Declare(Scope& s, const M& a, std::initializer_list<const char*> attentions, int64_t norms) {
  const int64_t width = a.d_model();
  for (const char* name : attentions) {
    Scope inner = s.Enter(name, name, true, std::nullopt);
    DeclareHeads(inner, {.heads = a.nhead(), .use_bias = a.use_bias()}, width, width, width);
  }
  const auto pair = [&](const std::string& name, Shape weight, const v1::Initializer& start_weight,
                        const v1::Initializer& start_bias) {
    Scope inner = s.Enter(name, name, true, std::nullopt);
    const int64_t out = weight[0];
    inner.Param("weight", std::move(weight), {.initializer = start_weight});
    if (a.use_bias()) inner.Param("bias", {out}, {.initializer = start_bias});
  };
  const auto bound = [](int64_t in) { return Uniform(1 / std::sqrt(static_cast<double>(in))); };
  pair("linear1", {a.dim_feedforward(), width}, bound(width), bound(width));
  pair("linear2", {width, a.dim_feedforward()}, bound(a.dim_feedforward()), bound(a.dim_feedforward()));
  for (int64_t i = 1; i <= norms; ++i) pair(absl::StrCat("norm", i), {width}, ConstantValue(1), ConstantValue(0));
}

}  // namespace

Value EncoderStep(Scope& s, const v1::TransformerEncoderLayer& a, Value x, const TransformerMasks& m) {
  Declare(s, a, {"self_attn"}, 2);
  x = Residual(s, a, "norm1", x, [&](Value v) {
    return Attend(s, a, "self_attn", "dropout1", v, v, m.self, m.self_padding, m.self_name, "src_key_padding_mask");
  });
  return Residual(s, a, "norm2", x, [&](Value v) { return FeedForward(s, a, v, "dropout2"); });
}

Value DecoderStep(Scope& s, const v1::TransformerDecoderLayer& a, Value x, Value memory, const TransformerMasks& m) {
  Declare(s, a, {"self_attn", "multihead_attn"}, 3);
  x = Residual(s, a, "norm1", x, [&](Value v) {
    return Attend(s, a, "self_attn", "dropout1", v, v, m.self, m.self_padding, m.self_name, "tgt_key_padding_mask");
  });
  x = Residual(s, a, "norm2", x, [&](Value v) {
    return Attend(s, a, "multihead_attn", "dropout2", v, memory, m.cross, m.cross_padding, "memory_mask",
                  "memory_key_padding_mask");
  });
  return Residual(s, a, "norm3", x, [&](Value v) { return FeedForward(s, a, v, "dropout3"); });
}

TransformerMasks EncoderMasks(const Args& args, const TransformerFrame& f, const char* mask) {
  return {args.Named(mask), {}, f.Padding(args.Named("src_key_padding_mask")), {}, mask};
}

TransformerMasks DecoderMasks(const Args& args, const TransformerFrame& f) {
  return {args.Named("tgt_mask"), args.Named("memory_mask"), f.Padding(args.Named("tgt_key_padding_mask")),
          f.Padding(args.Named("memory_key_padding_mask")), "tgt_mask"};
}

Value FinalNorm(Scope& s, Value x, double epsilon, bool affine, bool use_bias) {
  Scope inner = s.Enter("norm", "norm", true, std::nullopt);
  return affine ? LayerNormOf(inner, x, epsilon, use_bias) : Standardize(x, {x.rank() - 1}, epsilon);
}

}  // namespace strata::nn
