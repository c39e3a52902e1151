// Losses that own weights: they train with the model's.
#include "absl/strings/str_cat.h"
#include "engine/base/checkpoint_names.h"
#include "engine/nn/custom/custom.h"
#include "engine/nn/layers/adaptive_log_softmax.h"
#include "engine/nn/losses/loss.h"
#include "engine/ops/ops.h"

namespace strata::nn {

bool OwnsWeights(const v1::Loss& loss) {
  return loss.has_adaptive_log_softmax() || (loss.has_custom() && !loss.custom().definition().weights().empty());
}

Scope ScopeOfObjective(const Scope& root, const v1::Loss& loss, int index) {
  if (!OwnsWeights(loss)) return root;
  const std::string name = absl::StrCat(index);
  return root.Enter(checkpoint::kObjectives, checkpoint::kObjectives, true, std::nullopt)
      .Enter(name, name, true, std::nullopt);
}

void DeclareWeights(Scope& s, const v1::Loss& loss, const Annotated& prediction, const std::vector<Annotated>& more) {
  if (loss.has_adaptive_log_softmax()) {
    const Value x = prediction;
    BuildAdaptiveLogSoftmax(s, loss.adaptive_log_softmax(), x.rank() == 1 ? ExpandDims(x, 0) : x);
  } else if (OwnsWeights(loss)) {
    DeclareCustomWeights(s, loss.custom(), prediction, more);
  }
}

}  // namespace strata::nn
