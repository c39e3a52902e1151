// Static facts of a model, found by building its graph for small batches. Internal to the engine's facade.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "engine/nn/scope.h"
#include "engine/session.h"

namespace strata {

struct Probe {
  Graph graph;
  nn::Collected collected;
  std::vector<PortSpec> inputs, outputs;  // with the probe's own sizes
};

// The model's graph for a batch; free axes of inputs have size `free`.
absl::StatusOr<Probe> ProbeModel(const v1::Model& model, int64_t batch, int64_t free, bool training);

// Ports with -1 where a size follows the batch or a free axis; the parameters; whether rows are independent. No FLOPs
// or bytes.
struct Ports {
  std::vector<PortSpec> inputs, outputs;
  std::vector<nn::ParamSpec> params;
  bool rows_independent = true;
  int64_t free = 1;  // a size of free axes with which the model builds
};
absl::StatusOr<Ports> PortsOf(const v1::Model& model);

// Weights that losses of `config`'s objectives own, named objectives.<i>.... Both messages are complete.
absl::StatusOr<std::vector<nn::ParamSpec>> ObjectiveParams(const v1::Model& model, const v1::TrainingConfig& config,
                                                           const Ports& ports);

// Fresh parameters and buffers, as a training with this seed begins. `model` is complete.
absl::StatusOr<NamedTensors> InitialWeights(const v1::Model& model, uint64_t seed);

}  // namespace strata
