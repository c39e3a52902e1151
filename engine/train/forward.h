// What training and evaluation steps share: the batch's tensors as graph inputs, the model, objectives, penalties,
// metrics.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/port.h"
#include "engine/base/status.h"
#include "engine/nn/scope.h"
#include "strata/v1/model.pb.h"
#include "strata/v1/training.pb.h"

namespace strata {

// Where a metric's sums stand among a graph's outputs, and how they become its value.
struct MetricSpec {
  std::string name;
  size_t first_output = 0;
  std::vector<int64_t> sizes;  // elements of each output
  std::function<double(std::span<const double> sums)> result;
};

// Where the violations of a requirement stand among a graph's outputs.
struct RequirementSpec {
  size_t output = 0;
  std::string message;
};

struct Forward {
  Value loss;     // objectives and penalties; empty without objectives
  Value penalty;  // the part that is penalties; empty if there are none
  std::vector<nn::Annotated> outputs;
  int64_t samples = 0;
  bool training = false;
};

// Types of the batch's tensors, in the order in which they become graph inputs.
using Signature = std::vector<PortSpec>;

// Builds graphs over one batch. Call the parts in order; the scope keeps the first error.
class ForwardBuilder {
 public:
  // `model` and `config` are complete and, like `graph` and `collected`, outlive the builder.
  ForwardBuilder(const v1::Model& model, const v1::TrainingConfig& config, Graph* graph, nn::Collected* collected)
      : model_(model), config_(config), graph_(graph), collected_(collected) {}

  // Adds a graph input for each tensor and checks them against the model, the objectives and each other.
  absl::Status AddBatch(const Signature& batch);
  // The random state is a graph input i64[2] (seed, step), or empty in evaluation.
  Forward Build(bool training, Value random_state);
  // Appends the metrics' sums to the graph's outputs.
  std::vector<MetricSpec> AddMetrics(const Forward& forward);
  // Appends the requirements' violations to the graph's outputs.
  std::vector<RequirementSpec> AddRequirements();

 private:
  nn::Annotated OutputOf(const std::string& path, const std::string& name, std::optional<int> position,
                         const Forward& f);
  Value TensorOf(const std::string& path, const std::string& name);
  Value ClassFactors(Value target);
  nn::Scope RootScope(bool training, Value random_state);

  const v1::Model& model_;
  const v1::TrainingConfig& config_;
  Graph* graph_;
  nn::Collected* collected_;
  std::map<std::string, Value> tensors_;
  int64_t samples_ = 0;
};

// Appends the violations of what a model requires of its batch to a graph's outputs.
std::vector<RequirementSpec> MarkRequirements(const nn::Collected& collected, Graph* graph);

// INVALID_ARGUMENT for the first requirement that a run's outputs break. `violations_at(i)` is the scalar output i.
template <typename Outputs>
absl::Status CheckRequirements(const std::vector<RequirementSpec>& requirements, const Outputs& violations_at) {
  for (const RequirementSpec& r : requirements) {
    const float violations = violations_at(r.output);
    if (violations > 0) return InvalidArgument(r.message, ", got ", violations, " elements that are not");
  }
  return absl::OkStatus();
}

// Names of a configuration's metrics in results, in order; a name that was taken gets its position.
std::vector<std::string> MetricNames(const v1::TrainingConfig& config);

// Target of objective or metric `index`: "target", "target_1", ...
std::string DefaultTarget(size_t index);
// The tensor of the batch that is an argument of an objective's loss.
std::string ArgumentTensor(const v1::Objective& o, const std::string& argument);

// What a metric looks at: its own output and target, or the first objective's.
struct MetricPlace {
  std::string output, target;
};
MetricPlace PlaceOf(const v1::NamedMetric& metric, const v1::TrainingConfig& config);

// Index of the output that a field of the configuration means: the one that it names or, where it is empty, the one at
// `position`, or the only one. INVALID_ARGUMENT begins with `path` and names those that there are.
absl::StatusOr<int> FindOutput(const std::string& path, const v1::Model& model, const std::string& name,
                               std::optional<int> position);

// Checks one tensor of a request against an input of a model. `path` begins the message.
absl::Status CheckInput(const std::string& path, const v1::Input& input, const PortSpec& given);
DType ElementType(v1::DataType type);

}  // namespace strata
