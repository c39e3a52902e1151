// Threads for work that may block: gRPC's own threads must not.
#pragma once

#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"

namespace strata::service {

// A bounded queue and the threads that empty it. Thread-safe.
class WorkerPool {
 public:
  using Job = absl::AnyInvocable<void()>;

  struct Options {
    std::string name;  // of the threads, at most 15 bytes
    int threads = 2;
    size_t max_queue = 256;
    int nice = 0;  // added to the threads' niceness
  };
  explicit WorkerPool(const Options& options);
  // Runs what is queued, then ends the threads.
  ~WorkerPool();

  // False, and `job` is dropped, if the queue is full or the pool is stopping.
  bool TryAdd(Job job);
  // Beyond the bound too: for work that the server owes itself (what a run has to do), never for a client's new
  // request.
  void Add(Job job);
  size_t queued() const;

 private:
  void Loop();
  bool Due() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stop_ || !jobs_.empty(); }

  const Options options_;
  mutable absl::Mutex mutex_;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace strata::service
