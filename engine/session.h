// The engine as a whole: what a server, a benchmark or a test calls.
//
//   STRATA_ASSIGN_OR_RETURN(auto session, TrainSession::Create(model, config, {.threads = 2}));
//   STRATA_ASSIGN_OR_RETURN(StepOutcome step, session->Step({{"input", x}, {"target", y}}));
//   STRATA_ASSIGN_OR_RETURN(auto version, Version::Create(model, session->Weights(), {}));
//   STRATA_ASSIGN_OR_RETURN(NamedTensors out, version->Predict({{"input", x}}));
//
// Errors: INVALID_ARGUMENT for what a client can cause (worded "path: rule, got value"), RESOURCE_EXHAUSTED for what
// does not fit the limits, INTERNAL for our own bugs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/checkpoint_names.h"
#include "engine/base/port.h"
#include "engine/base/tensor.h"
#include "strata/v1/model.pb.h"
#include "strata/v1/training.pb.h"

namespace strata {

struct SessionOptions {
  // Threads of one step or prediction. Every thread that runs with more than one gets a pool of its own: use few such
  // threads.
  int threads = 1;
  // Bytes of compiled plans that are kept (arenas included); the least recently used goes first.
  int64_t plan_cache_bytes = 256 << 20;
  // Run the double-precision reference kernels (tests).
  bool reference = false;
  // Time every step of the plans, for Profile().
  bool profile = false;
};

// The largest model that is accepted, checked before anything is allocated.
struct ModelLimits {
  int64_t max_parameters = int64_t{1} << 31;
  int64_t max_layers = 10000;
  int64_t max_depth = 32;
  int64_t max_value_bytes = int64_t{4} << 30;
};

struct ParameterSpec {
  std::string name;  // as the dialect's framework names it
  Shape shape;       // in the dialect's layout
  bool trainable = true;
  bool buffer = false;  // state and no parameter (running statistics)
};

// Static facts of a model: what Models.Validate answers.
struct ModelFacts {
  std::vector<PortSpec> inputs;
  std::vector<PortSpec> outputs;
  std::vector<ParameterSpec> parameters;
  int64_t num_parameters = 0;  // parameters and buffers, as Keras counts
  int64_t num_trainable = 0;
  int64_t flops = 0;  // forward pass of `batch_size` rows
  int64_t weight_bytes = 0;
  int64_t gradient_bytes = 0;
  int64_t optimizer_bytes = 0;
  int64_t activation_bytes = 0;
};

// The definition with every default of its dialect filled in, names given and calls made explicit; checks every range.
// Idempotent. The other functions take a model in either form.
absl::StatusOr<v1::Model> Complete(const v1::Model& model);

// Custom components that are known by name beyond one model: a catalog's.
using CustomComponents = google::protobuf::RepeatedPtrField<v1::CustomComponent>;

// The definition with its version set; checks everything that needs no shapes.
absl::StatusOr<v1::CustomComponent> CheckComponent(const v1::CustomComponent& component);
// Adds to `custom_components` the known ones that `model` or `config` names and does not define itself, and those that
// they name in turn. The last of a name counts.
void AddComponents(const CustomComponents& known, v1::Model* model);
void AddComponents(const CustomComponents& known, v1::TrainingConfig* config);

// Checks a model (and, if given, a training configuration) without running anything. Never allocates weights.
absl::StatusOr<ModelFacts> Inspect(const v1::Model& model, const v1::TrainingConfig* config, int64_t batch_size);

// An epoch of training up to a step. Metrics that are no means (areas, ratios) are of all rows together.
struct EpochOutcome {
  int64_t epoch = 1;    // its number
  int64_t samples = 0;  // of steps that were not skipped
  double loss = 0;      // mean over samples, with penalties
  std::map<std::string, double> metrics;
  bool ended = false;  // with this step
};

// What follows from the values at the end of an epoch or of an evaluation.
struct Verdict {
  bool best = false;  // what the configuration's keep_best watches is the best so far: these weights are kept
  bool stop = false;  // early stopping has run out of patience
};

struct StepOutcome {
  int64_t step = 0;  // number of this step, from 1
  int64_t samples = 0;
  double loss = 0;     // with penalties, before the update
  double penalty = 0;  // the part of `loss` that is penalties
  double gradient_norm = 0;
  double learning_rate = 0;
  std::map<std::string, double> metrics;
  bool skipped = false;      // not finite: nothing was updated
  bool accumulated = false;  // the gradients wait for the next update
  EpochOutcome epoch;
  Verdict verdict;  // where the epoch ended
};

struct StepOptions {
  // The epoch ends with this step (as it does after the configuration's steps_per_epoch).
  bool end_of_epoch = false;
  // States that stateful recurrent layers keep from step to step start this step at zero.
  bool reset_states = false;
};

// Which weights of a session.
enum class WeightSet : uint8_t {
  kPresent,
  kAveraged,  // the optimizer's moving average; buffers and frozen parameters as they are
  kBest,      // of the best observation (keep_best)
};

struct EvalOutcome {
  int64_t samples = 0;  // so far in this evaluation
  double loss = 0;      // mean over samples so far, with penalties
  std::map<std::string, double> metrics;
};

// The weights, optimizer slots and random state of one training, and its compiled plans. Thread-compatible; the same
// thread should call Step each time (a thread that runs parallel kernels owns a pool of workers).
class TrainSession {
 public:
  virtual ~TrainSession() = default;

  // Fresh weights from `config.seed`.
  static absl::StatusOr<std::unique_ptr<TrainSession>> Create(const v1::Model& model, const v1::TrainingConfig& config,
                                                              const SessionOptions& options);

  // One training step on a batch: the model's inputs, the objectives' targets and sample weights, by name, batch axis
  // first. On error nothing has changed. With FAIL_RUN a step that is not finite is FAILED_PRECONDITION.
  virtual absl::StatusOr<StepOutcome> Step(const NamedViews& batch, const StepOptions& options) = 0;
  absl::StatusOr<StepOutcome> Step(const NamedViews& batch) { return Step(batch, {}); }

  // Loss and metrics in evaluation mode; `first` starts a new evaluation. Changes no weights.
  virtual absl::StatusOr<EvalOutcome> Evaluate(const NamedViews& batch, bool first) = 0;
  // An evaluation is complete. The one named "validation" is what "val_..." monitors watch: a plateau schedule, early
  // stopping and keep_best take its values.
  virtual Verdict EndEvaluation(const std::string& name, const EvalOutcome& outcome) = 0;
  // Early stopping has ended the training (and restored the best weights, if it does so). Steps are still taken.
  virtual bool stopped() const = 0;

  // Replaces the optimizer's learning rate; a schedule goes on from it.
  virtual void SetLearningRate(double learning_rate) = 0;
  // Of the next step.
  virtual double learning_rate() const = 0;
  virtual int64_t step() const = 0;

  // Parameters and buffers, under the framework's names and in its layout: what a version is made of.
  virtual NamedTensors Weights() const = 0;
  // Others, and the step that they are of. INVALID_ARGUMENT if the configuration keeps no such weights,
  // FAILED_PRECONDITION if there are none yet.
  virtual absl::StatusOr<NamedTensors> WeightsOf(WeightSet set, int64_t* step) const = 0;
  // Replaces parameters and buffers by name; every name must exist with its shape. Missing names are an error if
  // `strict`.
  virtual absl::Status SetWeights(const NamedTensors& weights, bool strict) = 0;

  // Everything that the session needs to go on bit for bit: weights, optimizer slots, random state, counters, the
  // epoch's sums, what schedules and monitors remember, weights that are kept.
  virtual NamedTensors Save() const = 0;
  // Takes what Save gave. Weights must all be there; what else is missing stays as in a fresh session, so that weights
  // alone begin a training.
  virtual absl::Status Load(const NamedTensors& checkpoint) = 0;

  // What the machine cannot do of the configuration, and what is done instead.
  virtual std::vector<std::string> warnings() const { return {}; }
  // Bytes of weights, slots, plans and arenas held now.
  virtual int64_t memory_bytes() const = 0;
  // The steps of the training plan that ran last, the slowest first, each with its fastest time; empty without
  // `options.profile`.
  virtual std::string Profile() const { return {}; }
};

// Immutable weights of a model, ready for inference. Thread-safe.
class Version {
 public:
  virtual ~Version() = default;

  // Keeps `weights`, without a copy if it may have them: the model's, and those that losses own (which predictions do
  // not read). Others are left out.
  static absl::StatusOr<std::unique_ptr<Version>> Create(const v1::Model& model, NamedTensors&& weights,
                                                         const SessionOptions& options);
  static absl::StatusOr<std::unique_ptr<Version>> Create(const v1::Model& model, const NamedTensors& weights,
                                                         const SessionOptions& options);

  // Valid while the version lives.
  virtual NamedViews weights() const = 0;

  // All outputs by name. Inputs must match inputs() but for axes of -1.
  virtual absl::StatusOr<NamedTensors> Predict(const NamedViews& inputs) const = 0;

  virtual const std::vector<PortSpec>& inputs() const = 0;
  virtual const std::vector<PortSpec>& outputs() const = 0;
  // Every output row depends on its own input row only: requests may be batched together.
  virtual bool rows_independent() const = 0;
  virtual int64_t memory_bytes() const = 0;
  // As TrainSession's, of the last prediction's plan.
  virtual std::string Profile() const { return {}; }
};

struct SummaryOptions {
  std::string style;  // the framework's: "keras", "torchkeras" or "pytorch"
  // What Keras' summary() takes besides; absent for other styles.
  int64_t line_length = 0;        // 0: 65, or 98 with connections
  std::vector<double> positions;  // where the columns end: parts of the line, or characters if the last is above 1
  bool expand_nested = false;
  bool show_trainable = false;
};

// The model as a table.
absl::StatusOr<std::string> Summarize(const v1::Model& model, const SummaryOptions& options);

}  // namespace strata
