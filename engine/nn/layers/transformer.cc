// torch.nn's transformers: layers, stacks of layers, and both stacks together.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/layers/attention.h"
#include "engine/nn/layers/dropout.h"
#include "engine/nn/layers/normalization.h"
#include "engine/nn/layers/recurrence.h"
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

struct Masks {
  Value self, cross, self_padding, cross_padding;
  std::string self_name;  // the argument that `self` is
};

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

// x [N, T, E].
Value EncoderStep(Scope& s, const v1::TransformerEncoderLayer& a, Value x, const Masks& m) {
  Declare(s, a, {"self_attn"}, 2);
  x = Residual(s, a, "norm1", x, [&](Value v) {
    return Attend(s, a, "self_attn", "dropout1", v, v, m.self, m.self_padding, m.self_name, "src_key_padding_mask");
  });
  return Residual(s, a, "norm2", x, [&](Value v) { return FeedForward(s, a, v, "dropout2"); });
}

Value DecoderStep(Scope& s, const v1::TransformerDecoderLayer& a, Value x, Value memory, const Masks& m) {
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

// Inputs to [N, T, E] and back.
struct Frame {
  bool unbatched, time_first;
  Value In(Value x) const {
    if (unbatched) return ExpandDims(x, 0);
    return time_first ? SwapBatchAndTime(x) : x;
  }
  Value Out(Value x) const {
    if (unbatched) return Squeeze(x, 0);
    return time_first ? SwapBatchAndTime(x) : x;
  }
  Value Padding(Value m) const { return m && unbatched ? ExpandDims(m, 0) : m; }
};

template <typename M>
bool Check(Scope& s, const M& a, Value x, const char* name) {
  if (a.d_model() % a.nhead() != 0) {
    s.Fail(
        absl::StrCat("d_model|nhead|embed_dim|num_heads: must divide the features ", a.d_model(), ", got ", a.nhead()));
  } else if ((x.rank() != 2 && x.rank() != 3) || x.dim(-1) != a.d_model()) {
    s.Fail(absl::StrCat(name, ": must have 2 or 3 axes and ", a.d_model(), " features, got ", ShapeString(x.shape())));
  }
  return s.ok();
}

template <typename M>
Frame FrameOf(Scope& s, const M& a, Value x) {
  const Frame f{x.rank() == 2, !a.batch_first()};
  if (f.unbatched || f.time_first) s.MixRows();  // axis 0 is time
  return f;
}

// The stack calls `mask` what one layer calls `src_mask`.
Masks EncoderMasks(const Args& args, const Frame& f, const char* mask = "src_mask") {
  return {args.Named(mask), {}, f.Padding(args.Named("src_key_padding_mask")), {}, mask};
}
Masks DecoderMasks(const Args& args, const Frame& f) {
  return {args.Named("tgt_mask"), args.Named("memory_mask"), f.Padding(args.Named("tgt_key_padding_mask")),
          f.Padding(args.Named("memory_key_padding_mask")), "tgt_mask"};
}

Outputs BuildEncoderLayer(Scope& s, const v1::TransformerEncoderLayer& a, const Args& args) {
  if (!Check(s, a, args[0], "src")) return {Value{s.graph(), -1}};
  const Frame f = FrameOf(s, a, args[0]);
  return {f.Out(EncoderStep(s, a, f.In(args[0]), EncoderMasks(args, f)))};
}

// Target and memory, of one batch.
template <typename L>
bool CheckMemory(Scope& s, const L& a, const Args& args) {
  if (!Check(s, a, args[0], "tgt") || !Check(s, a, args[1], "memory")) return false;
  const Shape &tgt = args[0].value.shape(), &memory = args[1].value.shape();
  const size_t batch = a.batch_first() ? 0 : 1;
  if (tgt.size() == memory.size() && (tgt.size() < 3 || tgt[batch] == memory[batch])) return true;
  s.Fail(absl::StrCat("tgt|memory: must have equal batch sizes, got ", ShapeString(tgt), " and ", ShapeString(memory)));
  return false;
}

Outputs BuildDecoderLayer(Scope& s, const v1::TransformerDecoderLayer& a, const Args& args) {
  if (!CheckMemory(s, a, args)) return {Value{s.graph(), -1}};
  const Frame f = FrameOf(s, a, args[0]);
  return {f.Out(DecoderStep(s, a, f.In(args[0]), f.In(args[1]), DecoderMasks(args, f)))};
}

// Copies of a layer start with equal weights: their random numbers carry the first one's name.
template <typename F>
Value Stack(Scope& s, int64_t count, Value x, F step) {
  for (int64_t i = 0; i < count; ++i) {
    Scope layer = s.Enter(absl::StrCat("layers.", i), absl::StrCat("layers.", i), true, std::nullopt);
    layer.InitializeLike(absl::StrCat("layers.", i), "layers.0");
    x = step(layer, x);
  }
  return x;
}

Value FinalNorm(Scope& s, Value x, double epsilon, bool affine, bool use_bias) {
  Scope inner = s.Enter("norm", "norm", true, std::nullopt);
  return affine ? LayerNormOf(inner, x, epsilon, use_bias) : Standardize(x, {x.rank() - 1}, epsilon);
}

Outputs BuildEncoder(Scope& s, const v1::TransformerEncoder& a, const Args& args) {
  const v1::TransformerEncoderLayer& l = a.encoder_layer();
  if (!Check(s, l, args[0], "src")) return {Value{s.graph(), -1}};
  const Frame f = FrameOf(s, l, args[0]);
  const Masks masks = EncoderMasks(args, f, "mask");
  Value x =
      Stack(s, a.num_layers(), f.In(args[0]), [&](Scope& layer, Value v) { return EncoderStep(layer, l, v, masks); });
  if (a.has_norm_eps()) x = FinalNorm(s, x, a.norm_eps(), a.norm_affine(), a.norm_use_bias());
  return {f.Out(x)};
}

Outputs BuildDecoder(Scope& s, const v1::TransformerDecoder& a, const Args& args) {
  const v1::TransformerDecoderLayer& l = a.decoder_layer();
  if (!CheckMemory(s, l, args)) return {Value{s.graph(), -1}};
  const Frame f = FrameOf(s, l, args[0]);
  const Masks masks = DecoderMasks(args, f);
  const Value memory = f.In(args[1]);
  Value x = Stack(s, a.num_layers(), f.In(args[0]),
                  [&](Scope& layer, Value v) { return DecoderStep(layer, l, v, memory, masks); });
  if (a.has_norm_eps()) x = FinalNorm(s, x, a.norm_eps(), a.norm_affine(), a.norm_use_bias());
  return {f.Out(x)};
}

template <typename L>
L LayerOf(const v1::Transformer& a) {
  L l;
  l.set_d_model(a.d_model());
  l.set_nhead(a.nhead());
  l.set_dim_feedforward(a.dim_feedforward());
  l.set_dropout(a.dropout());
  l.set_activation(a.activation());
  l.set_layer_norm_eps(a.layer_norm_eps());
  l.set_batch_first(a.batch_first());
  l.set_norm_first(a.norm_first());
  l.set_use_bias(a.use_bias());
  return l;
}

Outputs BuildTransformer(Scope& s, const v1::Transformer& a, const Args& args) {
  if (!Check(s, a, args[0], "src") || !Check(s, a, args[1], "tgt")) return {Value{s.graph(), -1}};
  // PyTorch's encoder asks its first layer how to run.
  if (a.num_encoder_layers() < 1) return {s.Fail("num_encoder_layers: must be >= 1, got 0")};
  const Frame f = FrameOf(s, a, args[0]);
  const int batch_axis = a.batch_first() ? 0 : 1;
  if (args[0].value.rank() != args[1].value.rank() ||
      (!f.unbatched && args[0].value.dim(batch_axis) != args[1].value.dim(batch_axis))) {
    return {s.Fail(absl::StrCat("src|tgt: must have equal batch sizes, got ", ShapeString(args[0].value.shape()),
                                " and ", ShapeString(args[1].value.shape())))};
  }
  const auto encoder_layer = LayerOf<v1::TransformerEncoderLayer>(a);
  const auto decoder_layer = LayerOf<v1::TransformerDecoderLayer>(a);
  // All matrices start anew with xavier_uniform_, each with numbers of its own.
  Scope root = s;
  root.OverrideMatrices([] {
    v1::Initializer i;
    i.mutable_variance_scaling()->set_scale(1);
    i.mutable_variance_scaling()->set_mode(v1::VarianceScalingInitializer::FAN_AVG);
    i.mutable_variance_scaling()->set_distribution(v1::VarianceScalingInitializer::UNIFORM);
    return i;
  }());
  Scope encoder = root.Enter("encoder", "encoder", true, std::nullopt),
        decoder = root.Enter("decoder", "decoder", true, std::nullopt);
  const Masks encoder_masks = EncoderMasks(args, f), decoder_masks = DecoderMasks(args, f);
  Value memory = Stack(encoder, a.num_encoder_layers(), f.In(args[0]),
                       [&](Scope& layer, Value v) { return EncoderStep(layer, encoder_layer, v, encoder_masks); });
  memory = FinalNorm(encoder, memory, a.layer_norm_eps(), true, a.use_bias());
  Value x = Stack(decoder, a.num_decoder_layers(), f.In(args[1]),
                  [&](Scope& layer, Value v) { return DecoderStep(layer, decoder_layer, v, memory, decoder_masks); });
  return {f.Out(FinalNorm(decoder, x, a.layer_norm_eps(), true, a.use_bias()))};
}

}  // namespace

std::vector<Component> TransformerLayers() {
  std::vector<Component> list;
  const std::string small = "d_model: 4 nhead: 2 dim_feedforward: 5 ";
  list.push_back(
      Layer<v1::TransformerEncoderLayer>("transformer_encoder_layer", &BuildEncoderLayer)
          .Shapes("src[T, N, E] -> y[T, N, E]")
          .Named(v1::PYTORCH, {"src_mask", "src_key_padding_mask"})
          .With({small, {{3, 2, 4}}, v1::PYTORCH})
          .With({small + "norm_first: true batch_first: true activation: \"gelu\"", {{2, 3, 4}}, v1::PYTORCH})
          .With({small + "use_bias: false dropout: 0", {{3, 4}}, v1::PYTORCH}));
  list.push_back(Layer<v1::TransformerDecoderLayer>("transformer_decoder_layer", &BuildDecoderLayer)
                     .Shapes("tgt[T, N, E], memory[S, N, E] -> y[T, N, E]")
                     .Named(v1::PYTORCH, {"tgt_mask", "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask"})
                     .Inputs(2, 2)
                     .With({small, {{3, 2, 4}, {5, 2, 4}}, v1::PYTORCH})
                     .With({small + "norm_first: true batch_first: true", {{2, 3, 4}, {2, 2, 4}}, v1::PYTORCH})
                     .With({small + "dropout: 0", {{3, 4}, {1, 4}}, v1::PYTORCH}));
  list.push_back(Layer<v1::TransformerEncoder>("transformer_encoder", &BuildEncoder)
                     .Shapes("src[T, N, E] -> y[T, N, E]")
                     .Named(v1::PYTORCH, {"mask", "src_key_padding_mask"})
                     .With({"encoder_layer { " + small + "} num_layers: 2", {{3, 2, 4}}, v1::PYTORCH})
                     .With({"encoder_layer { " + small + "batch_first: true } num_layers: 1 norm_eps: 1e-5",
                            {{2, 3, 4}},
                            v1::PYTORCH})
                     .With({"encoder_layer { " + small + "dropout: 0 } num_layers: 2", {{3, 4}}, v1::PYTORCH}));
  list.push_back(Layer<v1::TransformerDecoder>("transformer_decoder", &BuildDecoder)
                     .Shapes("tgt[T, N, E], memory[S, N, E] -> y[T, N, E]")
                     .Named(v1::PYTORCH, {"tgt_mask", "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask"})
                     .Inputs(2, 2)
                     .With({"decoder_layer { " + small + "} num_layers: 2", {{3, 2, 4}, {5, 2, 4}}, v1::PYTORCH})
                     .With({"decoder_layer { " + small + "batch_first: true } num_layers: 1 norm_eps: 1e-5",
                            {{2, 3, 4}, {2, 2, 4}},
                            v1::PYTORCH})
                     .With({"decoder_layer { " + small + "dropout: 0 } num_layers: 1", {{3, 4}, {2, 4}}, v1::PYTORCH}));
  const std::string stacks = small + "num_encoder_layers: 1 num_decoder_layers: 2 ";
  list.push_back(Layer<v1::Transformer>("transformer", &BuildTransformer)
                     .Shapes("src[S, N, E], tgt[T, N, E] -> y[T, N, E]")
                     .Named(v1::PYTORCH, {"src_mask", "tgt_mask", "memory_mask", "src_key_padding_mask",
                                          "tgt_key_padding_mask", "memory_key_padding_mask"})
                     .Inputs(2, 2)
                     .With({stacks, {{3, 2, 4}, {5, 2, 4}}, v1::PYTORCH})
                     .With({stacks + "batch_first: true norm_first: true", {{2, 3, 4}, {2, 2, 4}}, v1::PYTORCH})
                     .With({stacks + "dropout: 0 activation: \"gelu\"", {{3, 4}, {2, 4}}, v1::PYTORCH}));
  return list;
}

}  // namespace strata::nn
