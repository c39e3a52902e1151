// Runs predictions on a few threads, one plan on each; requests that wait at the same time run together.
//
//   batcher.Add({.version = version, .inputs = views, .rows = 1, ..., .done = [](BatchResult result) { ... }});
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "engine/session.h"
#include "service/batching/policy.h"
#include "service/obs/metrics.h"

namespace strata::service {

struct BatchResult {
  absl::StatusOr<NamedTensors> outputs;
  absl::Duration queued;
};

struct InferenceJob {
  std::string model;  // for the metrics
  std::shared_ptr<const Version> version;
  // Views into bytes that the caller keeps until `done`. `rows` is the size of axis 0 where the version is batchable.
  NamedViews inputs;
  int64_t rows = 1;
  size_t bytes = 0;
  absl::Time deadline = absl::InfiniteFuture();
  // The client has gone. Called on the batcher's threads, under its lock: it must be quick.
  absl::AnyInvocable<bool() const> cancelled;
  // Called once, on one of the batcher's threads.
  absl::AnyInvocable<void(BatchResult)> done;
};

// Thread-safe.
class Batcher {
 public:
  struct Options {
    int threads = 1;
    int64_t max_rows = 128;
    absl::Duration max_delay = absl::ZeroDuration();
    size_t max_requests = 1024;
    size_t max_bytes = size_t{512} << 20;
    Metrics* metrics = nullptr;  // required
  };
  explicit Batcher(const Options& options);
  // Runs what waits, then ends.
  ~Batcher();

  // RESOURCE_EXHAUSTED if too much waits already; `done` is then not called.
  absl::Status Add(InferenceJob job);

  // Requests may run together: rows are independent, and axis 0 is the batch everywhere.
  static bool Batchable(const Version& version);

 private:
  struct Entry {
    InferenceJob job;
    Waiting waiting;
  };
  struct Queue {
    BatchLimits limits;
    std::deque<Entry> entries;
  };
  struct Work {
    std::vector<Entry> drop;
    std::vector<Entry> run;
  };

  void Loop();
  Work Take(absl::Time now, absl::Time* wake) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Run(std::vector<Entry> batch);
  void RunTogether(std::vector<Entry>& batch);
  static void Finish(Entry& entry, absl::StatusOr<NamedTensors> outputs, absl::Time started);
  void Drop(Entry& entry);
  bool Changed() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stop_ || fresh_; }

  const Options options_;
  absl::Mutex mutex_;
  std::map<const Version*, Queue> queues_ ABSL_GUARDED_BY(mutex_);
  size_t requests_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  // Something may have become possible since a thread last looked.
  bool fresh_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace strata::service
