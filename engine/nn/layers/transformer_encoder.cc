// torch.nn.TransformerEncoder: equal layers, and perhaps a norm.
#include "engine/nn/component.h"
#include "engine/nn/layers/transformer_layers.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::TransformerEncoder& a, const Args& args) {
  const v1::TransformerEncoderLayer& l = a.encoder_layer();
  if (!CheckTransformer(s, l, args[0], "src")) return {Value{s.graph(), -1}};
  const TransformerFrame f = FrameOf(s, l, args[0]);
  const TransformerMasks masks = EncoderMasks(args, f, "mask");
  Value x = StackLayers(s, a.num_layers(), f.In(args[0]),
                        [&](Scope& layer, Value v) { return EncoderStep(layer, l, v, masks); });
  if (a.has_norm_eps()) x = FinalNorm(s, x, a.norm_eps(), a.norm_affine(), a.norm_use_bias());
  return {f.Out(x)};
}

}  // namespace

Components TransformerEncoder() {
  const std::string small = "d_model: 4 nhead: 2 dim_feedforward: 5 ";
  return Layer<v1::TransformerEncoder>("transformer_encoder", &Build)
      .Shapes("src[...] -> y[...]")
      .Takes(kFloats)
      .Arguments({"src"})
      .Named(v1::PYTORCH, {"mask", "src_key_padding_mask"})
      .With({"encoder_layer { " + small + "} num_layers: 2", {{3, 2, 4}}, v1::PYTORCH})
      .With({"encoder_layer { " + small + "batch_first: true } num_layers: 1 norm_eps: 1e-5", {{2, 3, 4}}, v1::PYTORCH})
      .With({"encoder_layer { " + small + "dropout: 0 } num_layers: 2", {{3, 4}}, v1::PYTORCH});
}

}  // namespace strata::nn
