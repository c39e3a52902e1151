// The progress of a training on the terminal: one bar that is redrawn, and one line for each epoch that stays. Where
// standard output is no terminal, a line now and then instead of the bar.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "cli/trainer.h"

namespace strata::cli {

class TrainProgress : public TrainListener {
 public:
  struct Options {
    std::string run;
    int64_t epochs = 1;
    int64_t batches_per_epoch = 1;
    int64_t batch = 1;
    int64_t rows = 1;        // samples of an epoch
    bool evaluates = false;  // an epoch is reported after its evaluation
  };
  explicit TrainProgress(const Options& options);

  void OnAttached(const v1::Attached& attached, bool again) override;
  void OnStep(const Item& item, const v1::StepResult& result) override;
  void OnEvaluate(const Item& item, const v1::EvaluateResult& result) override;
  void OnPublished(const v1::VersionInfo& version) override;
  void OnFinished(const v1::RunInfo& run) override;
  void OnLost(const absl::Status& why, absl::Duration wait) override;

 private:
  // Means over the steps of an epoch, each weighted by its samples.
  struct Means {
    double samples = 0;
    double loss = 0;
    std::map<std::string, double> metrics;
    void Add(const v1::StepResult& result, double num_samples);
    std::string Text() const;
  };

  double NumSamples(uint64_t sequence) const;
  void StartEpoch(int64_t epoch);
  void FinishEpoch(const std::string& evaluation);
  void DrawBar(uint64_t sequence);
  void Note(const std::string& line);

  const Options options_;
  const bool interactive_;
  const absl::Time started_ = absl::Now();
  int64_t epoch_ = 0;
  absl::Time epoch_started_;
  double epoch_seconds_ = 0;                 // until its last batch, without the evaluation
  double epoch_samples_ = 0;                 // answered since epoch_started_
  std::vector<v1::StepResult> epoch_steps_;  // kept so that a step that is done again counts once
  Means means_;
  absl::Time drawn_;
  int64_t skipped_ = 0;
};

}  // namespace strata::cli
