// Models.Convert: a model in the other dialect, with its weights.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "service/core/engine.h"
#include "service/core/registry.h"
#include "strata/v1/services.pb.h"

namespace strata::service {

// Weights of a run, where a conversion takes those.
struct RunWeights {
  std::string run;
  int64_t step = 0;
  NamedTensors tensors;
};

// The run whose weights a conversion takes: the one that it names, or the model's newest where it leaves the choice and
// no version serves. Empty: a version's, or none. `runs` are the model's runs with weights, oldest first.
absl::StatusOr<std::string> RunToConvert(const ModelRegistry& registry, const v1::ConvertRequest& request,
                                         const std::vector<std::string>& runs);

// Registers the new model and publishes its weights; nothing is registered unless all of it fits. `run` is empty but
// where RunToConvert names one. Blocks on the disk and the engine.
absl::StatusOr<v1::ConvertResponse> ConvertModel(ModelRegistry* registry, const Engine& engine,
                                                 const v1::ConvertRequest& request,
                                                 const std::optional<RunWeights>& run);

}  // namespace strata::service
