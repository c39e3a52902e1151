// A tiny engine: one linear layer, y = x . w, trained by plain gradient descent. It has what the service relies on:
// state that goes on bit for bit, batches that it refuses, steps that are not finite, and predictions that a test can
// hold up.
#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "service/core/engine.h"

namespace strata::service {

// Definitions: one input "x" of shape [features]; anything else is refused. Output "y" has shape [-1, 1]. Batches have
// "x" [N, features] and "target" [N], all FP32. The model's name decides about oddities:
//   "slow..."   Predict waits while the gate is closed
//   "whole..."  rows are not independent
class FakeEngine final : public Engine {
 public:
  struct Gate {
    absl::Mutex mutex;
    bool open ABSL_GUARDED_BY(mutex) = true;
    int waiting ABSL_GUARDED_BY(mutex) = 0;
    int predictions ABSL_GUARDED_BY(mutex) = 0;
    int64_t largest_batch ABSL_GUARDED_BY(mutex) = 0;

    void Set(bool is_open) {
      absl::MutexLock lock(&mutex);
      open = is_open;
    }
    // Until `count` predictions wait at the gate.
    void AwaitWaiting(int count);
  };

  explicit FakeEngine(std::shared_ptr<Gate> gate = std::make_shared<Gate>()) : gate_(std::move(gate)) {}

  absl::StatusOr<v1::Model> Complete(const v1::Model& model) const override;
  absl::StatusOr<ModelFacts> Inspect(const v1::Model& model, const v1::TrainingConfig* config,
                                     int64_t batch_size) const override;
  absl::StatusOr<std::string> Summarize(const v1::Model& model, const SummaryOptions& options) const override;
  std::vector<v1::ComponentInfo> Components() const override;
  absl::StatusOr<std::unique_ptr<TrainSession>> CreateSession(const v1::Model& model, const v1::TrainingConfig& config,
                                                              const SessionOptions& options) const override;
  absl::StatusOr<std::unique_ptr<Version>> CreateVersion(const v1::Model& model, NamedTensors weights,
                                                         const SessionOptions& options) const override;
  absl::StatusOr<v1::Model> Import(v1::Dialect dialect, const std::string& json, const std::vector<v1::Input>& inputs,
                                   const CustomComponents& custom) const override;
  absl::StatusOr<v1::CustomComponent> CheckComponent(const v1::CustomComponent& component) const override;
  void AddComponents(const CustomComponents&, v1::Model*) const override {}
  void AddComponents(const CustomComponents&, v1::TrainingConfig*) const override {}

 private:
  const std::shared_ptr<Gate> gate_;
};

}  // namespace strata::service
