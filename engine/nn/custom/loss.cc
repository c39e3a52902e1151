// Custom losses as members of the list of losses.
#include "engine/nn/custom/custom.h"
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

LossTerms Build(Scope& s, const v1::CustomLoss& use, const LossArgs& args) {
  Scope named = s.Enter(use.definition().name(), use.definition().name(), true, std::nullopt);
  const std::vector<Value> values =
      BuildCustomValues(named, use.definition(), use.hyperparameters(), args.target, args.prediction.value, args.more);
  if (!s.ok() || values.empty()) return {};
  if (values.size() != 1) {
    named.Fail(absl::StrCat("body: a LOSS must have one result, got ", values.size()));
    return {};
  }
  return {IsFloat(values[0].dtype()) ? values[0] : Cast(values[0], DType::kF32)};
}

bool Owns(const v1::Loss& loss) { return !loss.custom().definition().weights().empty(); }

void Declare(Scope& s, const v1::Loss& loss, const Annotated& prediction, const std::vector<Annotated>& more) {
  DeclareCustomWeights(s, loss.custom(), prediction, more);
}

}  // namespace

LossComponents CustomLoss() {
  return Loss<v1::CustomLoss>("custom", &Build).Takes(kAnyType).Compares(LossComponent::kAny).Owns(&Owns, &Declare);
}

}  // namespace strata::nn
