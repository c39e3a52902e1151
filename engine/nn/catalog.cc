// The list of layers. A new layer is one file and one line here.
#include "engine/base/status.h"
#include "engine/nn/component.h"

namespace strata::nn {

Component AdaptiveLogSoftmax();
Component CosineSimilarity();
Component DenseFeatures();
Component Custom();
Component Linear();
Component Dropout();
Component Embedding();
Component Gru();
Component Lstm();
Component Masking();
Component MultiheadAttention();
Component SimpleRnn();
std::vector<Component> ActivationLayers();
std::vector<Component> TransformerLayers();
std::vector<Component> KerasAttentionLayers();
std::vector<Component> ConvLstmLayers();
std::vector<Component> WrapperLayers();
std::vector<Component> CellLayers();
std::vector<Component> ChannelDropoutLayers();
std::vector<Component> ConvTransposeLayers();
std::vector<Component> DepthwiseConvLayers();
std::vector<Component> LocallyConnectedLayers();
std::vector<Component> MaxWindowLayers();
std::vector<Component> PadLayers();
std::vector<Component> ResizeLayers();
std::vector<Component> SampleNormLayers();
std::vector<Component> ThresholdLayers();
std::vector<Component> UnfoldLayers();
std::vector<Component> BatchNormLayers();
std::vector<Component> ConvLayers();
std::vector<Component> MergeLayers();
std::vector<Component> PoolLayers();
std::vector<Component> GlobalPoolLayers();
std::vector<Component> ShapeLayers();

namespace {

std::vector<Component> MakeList() {
  std::vector<Component> list;
  list.push_back(AdaptiveLogSoftmax());
  list.push_back(CosineSimilarity());
  list.push_back(DenseFeatures());
  list.push_back(Custom());
  list.push_back(Linear());
  list.push_back(Dropout());
  list.push_back(Embedding());
  list.push_back(Gru());
  list.push_back(Lstm());
  list.push_back(Masking());
  list.push_back(MultiheadAttention());
  list.push_back(SimpleRnn());
  for (auto family : {ActivationLayers,     TransformerLayers,
                      KerasAttentionLayers, CellLayers,
                      WrapperLayers,        ConvLstmLayers,
                      ChannelDropoutLayers, ConvTransposeLayers,
                      DepthwiseConvLayers,  LocallyConnectedLayers,
                      MaxWindowLayers,      PadLayers,
                      ResizeLayers,         SampleNormLayers,
                      ThresholdLayers,      UnfoldLayers,
                      BatchNormLayers,      ConvLayers,
                      MergeLayers,          PoolLayers,
                      GlobalPoolLayers,     ShapeLayers}) {
    for (Component& c : family()) list.push_back(std::move(c));
  }
  return list;
}

}  // namespace

const std::vector<Component>& Layers() {
  static const std::vector<Component> list = MakeList();
  return list;
}

const Component* FindLayer(const std::string& name) {
  for (const Component& c : Layers()) {
    if (c.name() == name) return &c;
  }
  return nullptr;
}

const google::protobuf::Message& AttributesOf(const v1::Layer& layer, const std::string& name) {
  const auto* field = v1::Layer::descriptor()->FindFieldByName(name);
  STRATA_CHECK(field != nullptr && layer.GetReflection()->HasField(layer, field));
  return layer.GetReflection()->GetMessage(layer, field);
}

}  // namespace strata::nn
