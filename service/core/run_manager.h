// All runs: starting, attaching, listing, and what happens to them when the server starts and stops.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "service/core/run.h"
#include "service/core/watcher.h"

namespace strata::service {

// A run's checkpoint as it is on the disk.
struct RunCheckpoint {
  std::string model;
  v1::TrainingConfig config;
  int64_t step = 0;
  TensorFile file;
};

// Thread-safe. Functions block on the disk unless they say otherwise.
class RunManager {
 public:
  struct Options {
    Store* store = nullptr;
    ModelRegistry* registry = nullptr;
    const Engine* engine = nullptr;
    const Clock* clock = nullptr;
    Metrics* metrics = nullptr;
    SessionOptions session;
    // Threads that train; runs are dealt out to them.
    int executors = 1;
    int nice = 5;
    // Runs with a client at a time; each holds its weights and its optimizer's state in memory.
    int max_active = 16;
    int window = 8;
    std::string build;
    absl::Duration history_interval = absl::Milliseconds(50);
  };
  explicit RunManager(const Options& options);
  ~RunManager();

  // Reads the runs of the store.
  absl::Status Load();

  // Starts a run and attaches `sink` to it: the answer comes through the sink. An error: nothing was started.
  absl::StatusOr<std::shared_ptr<Run>> Start(const v1::StartRun& request, std::shared_ptr<TrainSink> sink,
                                             uint64_t request_id);
  absl::StatusOr<std::shared_ptr<Run>> Attach(const v1::AttachRun& request, std::shared_ptr<TrainSink> sink,
                                              uint64_t request_id);

  absl::StatusOr<std::shared_ptr<Run>> Find(const std::string& name) const;
  absl::StatusOr<v1::ListRunsResponse> List(const v1::ListRunsRequest& request) const;
  absl::StatusOr<std::unique_ptr<Watcher>> Watch(const v1::WatchRunRequest& request, std::function<void()> wake) const;
  // Answers through `done`, on any thread. Does not block.
  void Publish(const v1::PublishRequest& request, PublishCallback done);

  // The model's runs that have weights, oldest first. Does not block.
  std::vector<std::string> RunsWithWeights(const std::string& model) const;
  // Present weights of a run of `model`; answers as Publish does.
  void CopyWeights(const std::string& model, const std::string& run, WeightsCallback done);
  // The last checkpoint of a run. FAILED_PRECONDITION if it has none yet.
  absl::StatusOr<RunCheckpoint> ReadCheckpoint(const std::string& name) const;

  // FAILED_PRECONDITION while a run trains the model.
  absl::Status DeleteModel(const std::string& name);

  int window() const { return options_.window; }

  // Ends all attachments, and returns when every run has its checkpoint, or at the deadline (false).
  bool Drain(absl::Time deadline);

 private:
  // The checkpoint and the configuration that a run begins with.
  absl::StatusOr<TensorFile> StartFrom(const v1::StartRun& request, v1::TrainingConfig* config,
                                       RunRecord* record) const;
  absl::Status Admit() const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // Counts one more run with a client, if there is a place.
  bool Enter();
  std::shared_ptr<Run> Make(std::shared_ptr<const ModelEntry> model, RunRecord record, v1::TrainingConfig config);
  std::string NewName(const std::string& model) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const Options options_;
  std::unique_ptr<HistoryWriter> history_;
  std::unique_ptr<WorkerPool> files_;
  std::atomic<int> active_{0};
  RunContext context_;
  std::vector<std::unique_ptr<Executor>> executors_;
  // Held across the disk by whatever adds or removes runs; taken before mutex_, which is held for moments only.
  absl::Mutex change_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<Run>> runs_ ABSL_GUARDED_BY(mutex_);
  std::map<int64_t, std::shared_ptr<Run>> by_id_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace strata::service
