// The graph of a whole training step: forward, objectives, penalties, gradients, clipping, optimizer, constraints,
// metrics. Everything that writes a variable happens only if the step's loss and gradients are finite (the output
// "commit").
//
// Inputs: the batch's tensors, then the random state i64[2] (seed, step), then the optimizer's scalars (f32).
// Outputs: loss, penalty, gradient_norm, the metrics' sums, the requirements' violations, commit.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/nn/optimizers/optimizer.h"
#include "engine/nn/scope.h"
#include "engine/train/forward.h"

namespace strata {

// Scalars that the host computes anew for every step, for parameters that share a learning rate and a decay.
struct ScalarSet {
  std::function<std::vector<double>(const nn::UpdateNumbers& numbers)> values;
  double learning_rate = 0;  // as configured; schedules and the session change it
  size_t count = 0;          // graph inputs
};

// State of the optimizer for one parameter.
struct SlotSpec {
  std::string name;  // "optimizer:<parameter>/<slot>"
  Shape shape;
  double start = 0;
  std::string copy_of;  // not empty: starts as this variable is
};
// Gradients that wait for an update.
inline constexpr char kAccumulatorSlot[] = "accumulator";
std::string SlotName(const std::string& parameter, const std::string& slot);

// What a step does with its gradients, where several steps make one update.
enum class StepRole : uint8_t {
  kWhole,       // an update of its own
  kAccumulate,  // adds them, times its rows, to those that wait
  kApply,       // adds them, takes the mean over all rows, and updates
};

struct TrainStep {
  enum Outputs : size_t { kLoss, kPenalty, kGradientNorm, kNumOutputs };
  Graph graph;
  nn::Collected collected;
  std::vector<ScalarSet> scalars;
  std::vector<SlotSpec> slots;
  std::vector<MetricSpec> metrics;
  std::vector<RequirementSpec> requirements;
  int64_t samples = 0;
};

// `model` and `config` must be complete. INVALID_ARGUMENT names what does not fit.
absl::StatusOr<TrainStep> BuildTrainStep(const v1::Model& model, const v1::TrainingConfig& config,
                                         const Signature& batch, StepRole role = StepRole::kWhole);

// Loss and metrics in evaluation mode, without updates. Inputs: the batch's tensors. Outputs: loss, penalty, the
// metrics' sums, the requirements'
// violations.
struct EvaluateStep {
  enum Outputs : size_t { kLoss, kPenalty, kNumOutputs };
  Graph graph;
  nn::Collected collected;
  std::vector<MetricSpec> metrics;
  std::vector<RequirementSpec> requirements;
  int64_t samples = 0;
};
absl::StatusOr<EvaluateStep> BuildEvaluateStep(const v1::Model& model, const v1::TrainingConfig& config,
                                               const Signature& batch);

// The training configuration with every default filled in; checks every range and that there is an objective and an
// optimizer. `model` has the dialect, and definitions of custom losses and metrics besides the configuration's own.
absl::StatusOr<v1::TrainingConfig> CompleteConfig(const v1::Model& model, const v1::TrainingConfig& config);

}  // namespace strata
