// The list of layers. A new layer is one file and one line here.
#include "engine/base/status.h"
#include "engine/nn/component.h"
#include "engine/nn/schema.h"

// clang-format off
#define STRATA_LAYERS(LAYER) \
  LAYER(Activation) \
  LAYER(Activations) \
  LAYER(AdaptiveAvgPool) \
  LAYER(AdaptiveLogSoftmax) \
  LAYER(AdaptiveMaxPool) \
  LAYER(AdditiveAttention) \
  LAYER(AlphaDropout) \
  LAYER(Attention) \
  LAYER(AvgPool) \
  LAYER(BatchNorm) \
  LAYER(Bidirectional) \
  LAYER(Concatenate) \
  LAYER(ConstantPad) \
  LAYER(Conv) \
  LAYER(ConvLstm) \
  LAYER(ConvTranspose) \
  LAYER(CosineSimilarity) \
  LAYER(Cropping) \
  LAYER(Custom) \
  LAYER(DenseFeatures) \
  LAYER(DepthwiseConv) \
  LAYER(Dot) \
  LAYER(Dropout) \
  LAYER(Embedding) \
  LAYER(Flatten) \
  LAYER(Fold) \
  LAYER(FractionalMaxPool) \
  LAYER(GlobalAvgPool) \
  LAYER(GlobalMaxPool) \
  LAYER(GroupNorm) \
  LAYER(Gru) \
  LAYER(GruCell) \
  LAYER(InstanceNorm) \
  LAYER(KerasMultiHeadAttention) \
  LAYER(LayerNorm) \
  LAYER(Linear) \
  LAYER(LocallyConnected) \
  LAYER(LogSoftmax) \
  LAYER(Lstm) \
  LAYER(LstmCell) \
  LAYER(Masking) \
  LAYER(MaxPool) \
  LAYER(Mean) \
  LAYER(Merges) \
  LAYER(MultiheadAttention) \
  LAYER(PadCells) \
  LAYER(Permute) \
  LAYER(Prelu) \
  LAYER(RepeatVector) \
  LAYER(Reshape) \
  LAYER(RmsNorm) \
  LAYER(Rnn) \
  LAYER(Select) \
  LAYER(SeparableConv) \
  LAYER(SimpleRnn) \
  LAYER(SimpleRnnCell) \
  LAYER(Softmax) \
  LAYER(SpatialDropout) \
  LAYER(Threshold) \
  LAYER(ThresholdedRelu) \
  LAYER(TimeDistributed) \
  LAYER(Transformer) \
  LAYER(TransformerDecoder) \
  LAYER(TransformerDecoderLayer) \
  LAYER(TransformerEncoder) \
  LAYER(TransformerEncoderLayer) \
  LAYER(Unfold) \
  LAYER(UpSampling) \
  LAYER(Upsample) \
  LAYER(ZeroPadding)
// clang-format on

namespace strata::nn {

#define DECLARE(Name) Components Name();
STRATA_LAYERS(DECLARE)
#undef DECLARE

const std::vector<Component>& Layers() {
  static const std::vector<Component> list = [] {
    std::vector<Component> all;
#define ADD(Name) \
  for (Component & c : Name()) all.push_back(std::move(c));
    STRATA_LAYERS(ADD)
#undef ADD
    return all;
  }();
  return list;
}

const Component* FindLayer(const std::string& name) {
  for (const Component& c : Layers()) {
    if (c.name() == name) return &c;
  }
  return nullptr;
}

std::vector<Shape> StateShapes(const v1::Layer& cell, int64_t batch) {
  const auto* kind = KindOf(cell);
  const Component* component = kind == nullptr ? nullptr : FindLayer(kind->name());
  if (component == nullptr || !component->states()) return {};
  return component->states()(cell, batch);
}

const google::protobuf::Message& AttributesOf(const v1::Layer& layer, const std::string& name) {
  const auto* field = v1::Layer::descriptor()->FindFieldByName(name);
  STRATA_CHECK(field != nullptr && layer.GetReflection()->HasField(layer, field));
  return layer.GetReflection()->GetMessage(layer, field);
}

}  // namespace strata::nn
