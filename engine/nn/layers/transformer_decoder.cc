// torch.nn.TransformerDecoder: equal layers, and perhaps a norm.
#include "engine/nn/component.h"
#include "engine/nn/layers/transformer_layers.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::TransformerDecoder& a, const Args& args) {
  const v1::TransformerDecoderLayer& l = a.decoder_layer();
  if (!CheckTransformerMemory(s, l, args)) return {Value{s.graph(), -1}};
  const TransformerFrame f = FrameOf(s, l, args[0]);
  const TransformerMasks masks = DecoderMasks(args, f);
  const Value memory = f.In(args[1]);
  Value x = StackLayers(s, a.num_layers(), f.In(args[0]),
                        [&](Scope& layer, Value v) { return DecoderStep(layer, l, v, memory, masks); });
  if (a.has_norm_eps()) x = FinalNorm(s, x, a.norm_eps(), a.norm_affine(), a.norm_use_bias());
  return {f.Out(x)};
}

}  // namespace

Components TransformerDecoder() {
  const std::string small = "d_model: 4 nhead: 2 dim_feedforward: 5 ";
  return Layer<v1::TransformerDecoder>("transformer_decoder", &Build)
      .Shapes(
          "tgt[T, N, E] or tgt[N, T, E] or tgt[T, E], memory[S, N, E] or memory[N, S, E] or memory[S, E] -> "
          "y[T, N, E] or y[N, T, E] or y[T, E]")
      .Takes(kFloats)
      .Arguments({"tgt", "memory"})
      .Named(v1::PYTORCH, {"tgt_mask", "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask"})
      .Inputs(2, 2)
      .With({"decoder_layer { " + small + "} num_layers: 2", {{3, 2, 4}, {5, 2, 4}}, v1::PYTORCH})
      .With({"decoder_layer { " + small + "batch_first: true } num_layers: 1 norm_eps: 1e-5",
             {{2, 3, 4}, {2, 2, 4}},
             v1::PYTORCH})
      .With({"decoder_layer { " + small + "dropout: 0 } num_layers: 1", {{3, 4}, {2, 4}}, v1::PYTORCH});
}

}  // namespace strata::nn
