// Weights from files against a model's parameters.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/session.h"

namespace strata::service {

struct Matched {
  NamedTensors weights;                 // one for every parameter and buffer of the model
  std::vector<std::string> missing;     // in the model only: these are `start`'s
  std::vector<std::string> unexpected;  // in the file only
};

// load_state_dict: takes each tensor of `file` (consumed) whose name and shape fit, and the weights of losses, which no
// model has. INVALID_ARGUMENT with PyTorch's report if `strict` and a key is missing or unexpected, and always if a
// shape differs. What is missing comes from `start`.
absl::StatusOr<Matched> MatchStateDict(const std::string& model, const std::vector<ParameterSpec>& parameters,
                                       NamedTensors file, bool strict, const NamedTensors& start);

// float16, bfloat16 and float64 become float32; whole numbers stay.
Tensor AsWeight(Tensor tensor);

}  // namespace strata::service
