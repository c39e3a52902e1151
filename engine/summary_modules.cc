// print(net) of modules that hold modules of their own: attention and transformers.
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/nn/layers/adaptive_log_softmax.h"
#include "engine/summary.h"

namespace strata {
namespace {

using Children = std::vector<std::pair<std::string, std::string>>;

std::string Block(const std::string& name, const Children& children) {
  std::string out = absl::StrCat(name, "(\n");
  for (const auto& [child, text] : children) {
    absl::StrAppend(&out, "  (", child, "): ", absl::StrJoin(absl::StrSplit(text, '\n'), "\n  "), "\n");
  }
  return out + ")";
}

std::string LinearText(const char* name, int64_t in, int64_t out, bool bias) {
  return absl::StrCat(name, "(in_features=", in, ", out_features=", out, ", bias=", bias ? "True" : "False", ")");
}

std::string AttentionText(int64_t width, bool bias) {
  return Block("MultiheadAttention", {{"out_proj", LinearText("NonDynamicallyQuantizableLinear", width, width, bias)}});
}

std::string NormText(int64_t width, double epsilon, bool bias, bool affine = true) {
  v1::Layer layer;
  layer.mutable_layer_norm()->add_normalized_shape(width);
  layer.mutable_layer_norm()->set_epsilon(epsilon);
  layer.mutable_layer_norm()->set_affine(affine);
  layer.mutable_layer_norm()->set_use_bias(bias);
  return PrintPytorch(layer);
}

template <typename M>
std::string FinalNormText(const M& a, int64_t width) {
  return NormText(width, a.norm_eps(), a.norm_use_bias(), a.norm_affine());
}

std::string DropoutText(double rate) {
  v1::Layer layer;
  layer.mutable_dropout()->set_rate(rate);
  return PrintPytorch(layer);
}

// What both layers end with; `count` sublayers.
template <typename M>
void AddRest(const M& a, int count, Children* children) {
  children->push_back({"linear1", LinearText("Linear", a.d_model(), a.dim_feedforward(), a.use_bias())});
  children->push_back({"dropout", DropoutText(a.dropout())});
  children->push_back({"linear2", LinearText("Linear", a.dim_feedforward(), a.d_model(), a.use_bias())});
  for (int i = 1; i <= count; ++i) {
    children->push_back({absl::StrCat("norm", i), NormText(a.d_model(), a.layer_norm_eps(), a.use_bias())});
  }
  for (int i = 1; i <= count; ++i) children->push_back({absl::StrCat("dropout", i), DropoutText(a.dropout())});
}

std::string LayerText(const v1::TransformerEncoderLayer& a) {
  Children children = {{"self_attn", AttentionText(a.d_model(), a.use_bias())}};
  AddRest(a, 2, &children);
  return Block("TransformerEncoderLayer", children);
}

std::string LayerText(const v1::TransformerDecoderLayer& a) {
  Children children = {{"self_attn", AttentionText(a.d_model(), a.use_bias())},
                       {"multihead_attn", AttentionText(a.d_model(), a.use_bias())}};
  AddRest(a, 3, &children);
  return Block("TransformerDecoderLayer", children);
}

// A ModuleList; equal neighbours are printed once.
std::string ListText(const std::vector<std::string>& modules) {
  Children children;
  for (size_t i = 0; i < modules.size();) {
    size_t end = i + 1;
    while (end < modules.size() && modules[end] == modules[i]) ++end;
    const std::string text = end == i + 1 ? modules[i] : absl::StrCat(end - i, " x ", modules[i]);
    children.push_back({end == i + 1 ? absl::StrCat(i) : absl::StrCat(i, "-", end - 1), text});
    i = end;
  }
  return children.empty() ? "ModuleList()" : Block("ModuleList", children);
}

// `norm`: the final normalisation; empty: none.
std::string StackText(const char* name, const std::string& layer, int64_t count, const std::string& norm) {
  Children children = {{"layers", ListText(std::vector<std::string>(count, layer))}};
  if (!norm.empty()) children.push_back({"norm", norm});
  return Block(name, children);
}

std::string AdaptiveText(const v1::AdaptiveLogSoftmax& a) {
  const int clusters = a.cutoffs_size();
  std::vector<std::string> tail;
  for (int i = 0; i < clusters; ++i) {
    const int64_t end = i + 1 < clusters ? a.cutoffs(i + 1) : a.n_classes();
    const int64_t features = nn::AdaptiveTailFeatures(a, i);
    tail.push_back(Block("Sequential", {{"0", LinearText("Linear", a.in_features(), features, false)},
                                        {"1", LinearText("Linear", features, end - a.cutoffs(i), false)}}));
  }
  return Block("AdaptiveLogSoftmaxWithLoss",
               {{"head", LinearText("Linear", a.in_features(), a.cutoffs(0) + clusters, a.head_bias())},
                {"tail", ListText(tail)}});
}

template <typename L>
L LayerOf(const v1::Transformer& a) {
  L layer;
  layer.set_d_model(a.d_model());
  layer.set_dim_feedforward(a.dim_feedforward());
  layer.set_dropout(a.dropout());
  layer.set_layer_norm_eps(a.layer_norm_eps());
  layer.set_use_bias(a.use_bias());
  return layer;
}

std::string TransformerText(const v1::Transformer& a) {
  const std::string norm = NormText(a.d_model(), a.layer_norm_eps(), a.use_bias());
  return Block("Transformer",
               {{"encoder", StackText("TransformerEncoder", LayerText(LayerOf<v1::TransformerEncoderLayer>(a)),
                                      a.num_encoder_layers(), norm)},
                {"decoder", StackText("TransformerDecoder", LayerText(LayerOf<v1::TransformerDecoderLayer>(a)),
                                      a.num_decoder_layers(), norm)}});
}

}  // namespace

std::string PrintModules(const v1::Layer& layer) {
  switch (layer.kind_case()) {
    case v1::Layer::kMultiheadAttention:
      return AttentionText(layer.multihead_attention().embed_dim(), layer.multihead_attention().use_bias());
    case v1::Layer::kTransformerEncoderLayer:
      return LayerText(layer.transformer_encoder_layer());
    case v1::Layer::kTransformerDecoderLayer:
      return LayerText(layer.transformer_decoder_layer());
    case v1::Layer::kTransformerEncoder: {
      const auto& a = layer.transformer_encoder();
      const std::string norm = a.has_norm_eps() ? FinalNormText(a, a.encoder_layer().d_model()) : "";
      return StackText("TransformerEncoder", LayerText(a.encoder_layer()), a.num_layers(), norm);
    }
    case v1::Layer::kTransformerDecoder: {
      const auto& a = layer.transformer_decoder();
      const std::string norm = a.has_norm_eps() ? FinalNormText(a, a.decoder_layer().d_model()) : "";
      return StackText("TransformerDecoder", LayerText(a.decoder_layer()), a.num_layers(), norm);
    }
    case v1::Layer::kAdaptiveLogSoftmax:
      return AdaptiveText(layer.adaptive_log_softmax());
    case v1::Layer::kTransformer:
      return TransformerText(layer.transformer());
    default:
      return "";
  }
}

}  // namespace strata
