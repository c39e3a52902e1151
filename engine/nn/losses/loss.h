// Losses: a component (component.h) gives one value per element (PyTorch) or per sample (Keras); this file reduces,
// weighs and masks them.
//
//   Value loss = BuildLoss(s, definition, {.prediction = y, .target = t});   // a scalar, unless the reduction is NONE
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/nn/scope.h"
#include "strata/v1/losses.pb.h"

namespace strata::nn {

struct LossArgs {
  Annotated prediction;
  Value target;
  Value sample_weight;                 // Keras; may be empty
  std::vector<Annotated> more;         // further predictions, of losses that compare several
  std::map<std::string, Value> named;  // further arguments: lengths
};

// Losses of one batch. Shapes, targets' types and the like that do not fit fail the scope.
Value BuildLoss(Scope& s, const v1::Loss& loss, const LossArgs& args);

// One weighted mean over samples, as a training step wants it: the loss with its reduction, where `weights` [N] or
// empty multiplies each sample's share. Never has more than one element.
Value BuildObjective(Scope& s, const v1::Loss& loss, const LossArgs& args);

// Names of the further arguments that a loss needs (LossArgs::named).
std::vector<std::string> ArgumentsOf(const v1::Loss& loss);
// How many predictions a loss compares besides the first (LossArgs::more); -1: as many as its definition uses.
int FurtherPredictions(const v1::Loss& loss);

// Whether a loss has weights of its own.
bool OwnsWeights(const v1::Loss& loss);
// The scope in which objective `index` builds its loss: `root` itself where the loss owns nothing. It names the weights
// (engine/base/checkpoint_names.h).
Scope ScopeOfObjective(const Scope& root, const v1::Loss& loss, int index);
// Declares the weights without building the loss, in the scope of its objective.
void DeclareWeights(Scope& s, const v1::Loss& loss, const Annotated& prediction, const std::vector<Annotated>& more);

}  // namespace strata::nn
