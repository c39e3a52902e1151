// Trains a run over the Train stream and holds on to it: when the connection breaks or the server is killed, it
// attaches again and sends again what the last checkpoint does not have.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "cli/client.h"
#include "cli/schedule.h"

namespace strata::cli {

// What is sent. Called from the sending thread, one call at a time.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  // Fills a message that still holds an earlier batch, so that its memory is used again.
  virtual void FillBatch(const Item& item, v1::Batch* batch) = 0;
  virtual void FillEvaluate(const Item& item, v1::Evaluate* evaluate) = 0;
};

// What came back. Called from the thread that called Train.
class TrainListener {
 public:
  virtual ~TrainListener() = default;
  virtual void OnAttached(const v1::Attached& attached, bool again) = 0;
  virtual void OnStep(const Item& item, const v1::StepResult& result) = 0;
  // The mean so far; `item.last`: of the whole evaluation.
  virtual void OnEvaluate(const Item& item, const v1::EvaluateResult& result) = 0;
  virtual void OnPublished(const v1::VersionInfo& version) = 0;
  virtual void OnFinished(const v1::RunInfo& run) = 0;
  virtual void OnLost(const absl::Status& why, absl::Duration wait) = 0;
};

struct TrainerOptions {
  v1::StartRun start;  // with a name for the run, so that a start that was not answered can be told from another run
  // The run exists: attach instead of starting it (it is started if there is none).
  bool resume = false;
  Schedule::Options schedule;
  std::string publish_description;
  v1::WeightChoice publish_weights = v1::WEIGHT_CHOICE_UNSPECIFIED;
  // Without an attachment for so long, Train gives up.
  absl::Duration give_up_after = absl::Minutes(5);
};

// Returns when the run has finished, or what stopped it. Lost connections are not errors until `give_up_after`.
absl::Status Train(Client& client, const TrainerOptions& options, BatchSource& source, TrainListener& listener);

// Waits between attempts: grows by half from 0.2 s to 5 s.
class Backoff {
 public:
  absl::Duration Next();
  void Reset() { next_ = kFirst; }

 private:
  static constexpr absl::Duration kFirst = absl::Milliseconds(200);
  static constexpr absl::Duration kMost = absl::Seconds(5);
  absl::Duration next_ = kFirst;
};

}  // namespace strata::cli
