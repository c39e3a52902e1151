// What a training remembers besides weights and slots: counters, the sums of its epoch, its schedule, and what it
// watches to stop early or to keep the best weights. All of it is part of a checkpoint.
//
//   STRATA_ASSIGN_OR_RETURN(Progress progress, Progress::Create(model.dialect(), config, rate));
//   progress.epoch().Add(samples, loss);  ...  progress.EndEpoch({{"loss", 0.3}});
//   const Progress::Verdict verdict = progress.Observe({{"val_loss", 0.4}});
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/tensor.h"
#include "engine/nn/optimizers/optimizer.h"
#include "engine/nn/schedules/schedule.h"
#include "strata/v1/training.pb.h"

namespace strata {

// Sums over the batches of an epoch or an evaluation.
struct Totals {
  int64_t samples = 0;
  double loss = 0;                                  // times samples
  std::map<std::string, std::vector<double>> sums;  // of each metric

  double MeanLoss() const { return samples == 0 ? 0 : loss / static_cast<double>(samples); }
};

// The best of a metric so far.
class Best {
 public:
  // Whether more is better: "min", "max", or "auto", which looks at the metric's name as Keras does.
  Best(const std::string& mode, const std::string& monitor, double min_delta);
  bool Improves(double value) const { return Improves(value, best_); }
  bool Improves(double value, double reference) const;
  void Set(double best) { best_ = best; }
  double best() const { return best_; }

 private:
  bool more_;
  double min_delta_, best_;
};

// Thread-compatible.
class Progress {
 public:
  // What to do after values were observed.
  struct Verdict {
    bool best = false;       // keep_best: the weights are the best so far
    bool candidate = false;  // early_stopping: the weights are those to come back to
    bool stop = false;       // early_stopping: the training ends with this
  };

  // `config` is complete; `rate` is the optimizer's learning rate. INVALID_ARGUMENT for a monitor that is no metric.
  static absl::StatusOr<Progress> Create(v1::Dialect dialect, const v1::TrainingConfig& config, double rate);

  int64_t steps = 0;            // batches taken, skipped ones included
  int64_t updates = 0;          // of the optimizer
  uint64_t seed = 0;            // of the run
  int64_t pending_steps = 0;    // steps whose gradients wait for the next update
  int64_t pending_samples = 0;  // their rows
  int64_t epochs = 0;           // that have ended
  int64_t epoch_steps = 0;      // of the present one
  bool stopped = false;         // by early stopping
  int64_t best_step = 0;        // whose weights keep_best keeps
  Totals epoch;                 // of the present one

  // The rate that a parameter group with the configured rate `base` has now.
  double RateOf(double base) const;
  // Of the optimizer itself.
  double rate() const { return RateOf(configured_rate_); }
  // Replaces the optimizer's configured rate; those of groups change by the same factor.
  void SetRate(double rate) { base_rate_ = rate; }
  // What the host knows of the next update, for a group with the configured rate `base`.
  nn::UpdateNumbers NumbersOf(double base, int64_t samples) const;

  // Shows values to what watches them: plateau, early_stopping, keep_best. Each looks for its own name.
  Verdict Observe(const std::map<std::string, double>& values);
  // Forgets the present epoch's sums and counts it.
  void EndEpoch();

  void Save(NamedTensors* checkpoint) const;
  // Leaves what the checkpoint does not have as it is.
  absl::Status Load(const NamedTensors& checkpoint);
  // Whether Save writes a tensor of this name.
  static bool IsOwn(const std::string& name);

 private:
  Progress() = default;

  int64_t Count() const;
  Verdict ObserveStopping(double value);

  double configured_rate_ = 0, base_rate_ = 0;
  std::optional<nn::ScheduleRule> schedule_;
  std::optional<nn::Plateau> plateau_;
  std::string plateau_monitor_;
  std::optional<v1::EarlyStopping> stopping_;
  std::optional<Best> stopping_best_, kept_best_;
  std::string kept_monitor_;
  int64_t wait_ = 0, observations_ = 0;
};

}  // namespace strata
