// torch.nn.TransformerDecoderLayer.
#include "engine/nn/component.h"
#include "engine/nn/layers/transformer_layers.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::TransformerDecoderLayer& a, const Args& args) {
  if (!CheckTransformerMemory(s, a, args)) return {Value{s.graph(), -1}};
  const TransformerFrame f = FrameOf(s, a, args[0]);
  return {f.Out(DecoderStep(s, a, f.In(args[0]), f.In(args[1]), DecoderMasks(args, f)))};
}

}  // namespace

Components TransformerDecoderLayer() {
  const std::string small = "d_model: 4 nhead: 2 dim_feedforward: 5 ";
  return Layer<v1::TransformerDecoderLayer>("transformer_decoder_layer", &Build)
      .Shapes(
          "tgt[T, N, E] or tgt[N, T, E] or tgt[T, E], memory[S, N, E] or memory[N, S, E] or memory[S, E] -> "
          "y[T, N, E] or y[N, T, E] or y[T, E]")
      .Takes(kFloats)
      .Arguments({"tgt", "memory"})
      .Named(v1::PYTORCH, {"tgt_mask", "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask"})
      .Inputs(2, 2)
      .With({small, {{3, 2, 4}, {5, 2, 4}}, v1::PYTORCH})
      .With({small + "norm_first: true batch_first: true", {{2, 3, 4}, {2, 2, 4}}, v1::PYTORCH})
      .With({small + "dropout: 0", {{3, 4}, {1, 4}}, v1::PYTORCH});
}

}  // namespace strata::nn
