// torch.nn.Transformer: an encoder, and a decoder that reads what it puts out.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/transformer_layers.h"

namespace strata::nn {
namespace {

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

Outputs Build(Scope& s, const v1::Transformer& a, const Args& args) {
  if (!CheckTransformer(s, a, args[0], "src") || !CheckTransformer(s, a, args[1], "tgt")) return {Value{s.graph(), -1}};
  // PyTorch's encoder asks its first layer how to run.
  if (a.num_encoder_layers() < 1) return {s.Fail("num_encoder_layers: must be >= 1, got 0")};
  const TransformerFrame f = FrameOf(s, a, args[0]);
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
  const TransformerMasks encoder_masks = EncoderMasks(args, f), decoder_masks = DecoderMasks(args, f);
  Value memory = StackLayers(encoder, a.num_encoder_layers(), f.In(args[0]), [&](Scope& layer, Value v) {
    return EncoderStep(layer, encoder_layer, v, encoder_masks);
  });
  memory = FinalNorm(encoder, memory, a.layer_norm_eps(), true, a.use_bias());
  Value x = StackLayers(decoder, a.num_decoder_layers(), f.In(args[1]), [&](Scope& layer, Value v) {
    return DecoderStep(layer, decoder_layer, v, memory, decoder_masks);
  });
  return {f.Out(FinalNorm(decoder, x, a.layer_norm_eps(), true, a.use_bias()))};
}

}  // namespace

Components Transformer() {
  const std::string small = "d_model: 4 nhead: 2 dim_feedforward: 5 ";
  const std::string stacks = small + "num_encoder_layers: 1 num_decoder_layers: 2 ";
  return Layer<v1::Transformer>("transformer", &Build)
      .Shapes(
          "src[S, N, d_model] or src[N, S, d_model] or src[S, d_model], tgt[T, N, d_model] or tgt[N, T, d_model] or "
          "tgt[T, d_model] -> y[T, N, d_model] or y[N, T, d_model] or y[T, d_model]")
      .Takes(kFloats)
      .Arguments({"src", "tgt"})
      .Named(v1::PYTORCH, {"src_mask", "tgt_mask", "memory_mask", "src_key_padding_mask", "tgt_key_padding_mask",
                           "memory_key_padding_mask"})
      .Inputs(2, 2)
      .With({stacks, {{3, 2, 4}, {5, 2, 4}}, v1::PYTORCH})
      .With({stacks + "batch_first: true norm_first: true", {{2, 3, 4}, {2, 2, 4}}, v1::PYTORCH})
      .With({stacks + "dropout: 0 activation: \"gelu\"", {{3, 4}, {2, 4}}, v1::PYTORCH});
}

}  // namespace strata::nn
