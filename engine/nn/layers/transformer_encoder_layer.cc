// torch.nn.TransformerEncoderLayer.
#include "engine/nn/component.h"
#include "engine/nn/layers/transformer_layers.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::TransformerEncoderLayer& a, const Args& args) {
  if (!CheckTransformer(s, a, args[0], "src")) return {Value{s.graph(), -1}};
  const TransformerFrame f = FrameOf(s, a, args[0]);
  return {f.Out(EncoderStep(s, a, f.In(args[0]), EncoderMasks(args, f)))};
}

}  // namespace

Components TransformerEncoderLayer() {
  const std::string small = "d_model: 4 nhead: 2 dim_feedforward: 5 ";
  return Layer<v1::TransformerEncoderLayer>("transformer_encoder_layer", &Build)
      .Shapes("src[...] -> y[...]")
      .Takes(kFloats)
      .Arguments({"src"})
      .Named(v1::PYTORCH, {"src_mask", "src_key_padding_mask"})
      .With({small, {{3, 2, 4}}, v1::PYTORCH})
      .With({small + "norm_first: true batch_first: true activation: \"gelu\"", {{2, 3, 4}}, v1::PYTORCH})
      .With({small + "use_bias: false dropout: 0", {{3, 4}}, v1::PYTORCH});
}

}  // namespace strata::nn
