// Custom losses as members of the list of losses.
#include "engine/nn/losses/loss.h"
#include "engine/nn/custom/custom.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

LossTerms Build(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  const v1::CustomLoss& use = loss.custom();
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

}  // namespace

std::vector<LossComponent> CustomLosses() {
  return {{"custom", &Build, [](const v1::Loss& loss) { return loss.custom().reduction(); }}};
}

}  // namespace strata::nn
