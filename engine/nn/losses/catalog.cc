// The list of losses. A new loss is one file and one line here.
#include "engine/base/status.h"
#include "engine/nn/losses/component.h"
#include "engine/nn/schema.h"

// clang-format off
#define STRATA_LOSSES(LOSS) \
  LOSS(AdaptiveLogSoftmaxLoss) \
  LOSS(BinaryCrossEntropyLogitsLoss) \
  LOSS(BinaryCrossEntropyProbabilitiesLoss) \
  LOSS(BinaryCrossentropyLoss) \
  LOSS(BinaryFocalCrossentropyLoss) \
  LOSS(CategoricalCrossentropyLoss) \
  LOSS(CategoricalHingeLoss) \
  LOSS(CosineEmbeddingLoss) \
  LOSS(CosineSimilarityLoss) \
  LOSS(CrossEntropyLoss) \
  LOSS(CtcLoss) \
  LOSS(CustomLoss) \
  LOSS(DifferenceLosses) \
  LOSS(FocalLoss) \
  LOSS(HingeEmbeddingLoss) \
  LOSS(HingeLosses) \
  LOSS(KlDivLoss) \
  LOSS(KlDivergenceLoss) \
  LOSS(MarginRankingLoss) \
  LOSS(MeanAbsolutePercentageErrorLoss) \
  LOSS(MeanSquaredLogarithmicErrorLoss) \
  LOSS(MultiLabelMarginLoss) \
  LOSS(MultiLabelSoftMarginLoss) \
  LOSS(MultiMarginLoss) \
  LOSS(NegativeLogLikelihoodLoss) \
  LOSS(PoissonLoss) \
  LOSS(PoissonNllLoss) \
  LOSS(SoftMarginLoss) \
  LOSS(SparseCategoricalCrossentropyLoss) \
  LOSS(TripletMarginLoss)
// clang-format on

namespace strata::nn {

#define DECLARE(Name) LossComponents Name();
STRATA_LOSSES(DECLARE)
#undef DECLARE

const std::vector<LossComponent>& Losses() {
  static const std::vector<LossComponent> list = [] {
    std::vector<LossComponent> all;
#define ADD(Name) \
  for (LossComponent & c : Name()) all.push_back(std::move(c));
    STRATA_LOSSES(ADD)
#undef ADD
    return all;
  }();
  return list;
}

const LossComponent* FindLoss(const v1::Loss& loss) {
  const auto* kind = KindOf(loss);
  if (kind == nullptr) return nullptr;
  for (const LossComponent& c : Losses()) {
    if (c.name() == kind->name()) return &c;
  }
  return nullptr;
}

const google::protobuf::Message& AttributesOf(const v1::Loss& loss) {
  const auto* kind = KindOf(loss);
  STRATA_CHECK(kind != nullptr);
  return loss.GetReflection()->GetMessage(loss, kind);
}

}  // namespace strata::nn
