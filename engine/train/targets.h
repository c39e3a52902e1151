// What a batch of a training is like when nobody has sent one yet. Definitions say nothing of the types and shapes of
// targets: they are the first ones that every loss and metric takes.
#pragma once

#include <vector>

#include "engine/train/forward.h"

namespace strata {

struct LikelyBatch {
  Signature signature;
  // False: none of the usual targets fits a component of the user's own, which may take any.
  bool certain = true;
};

// `inputs` and `outputs` are the model's for `samples` rows; `model` and `config` are complete.
LikelyBatch GuessBatch(const v1::Model& model, const v1::TrainingConfig& config, const Signature& inputs,
                       const std::vector<PortSpec>& outputs, int64_t samples);

}  // namespace strata
