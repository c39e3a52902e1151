// Groups history rows of all runs into few transactions: no step waits for the disk.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "service/store/store.h"

namespace strata::service {

// Thread-safe.
class HistoryWriter {
 public:
  struct Options {
    // The oldest row waits at most about this long.
    absl::Duration interval = absl::Milliseconds(50);
    // Add() blocks above this many waiting rows.
    size_t max_rows = 100000;
    // What cannot be written is tried again after this time, or when somebody flushes.
    absl::Duration retry = absl::Seconds(1);
    // Called on the writer's thread after each transaction with the runs that it touched.
    std::function<void(const std::vector<int64_t>& run_ids)> on_commit;
  };

  HistoryWriter(Store* store, Options options);
  // Writes what waits.
  ~HistoryWriter();

  void Add(HistoryRow row);
  void SetState(RunRecord run);
  // What the last transaction failed of, once so many rows wait that nobody should add more; otherwise OK. Asked before
  // each step: a run ends its stream rather than train on, without an end in sight, to what no disk takes.
  absl::Status Ready() const;
  // Returns when everything added before is durable (or failed: the error is logged and the rows are kept for the next
  // try).
  absl::Status Flush();

 private:
  void Loop();
  bool HasRoom() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return rows_.size() < options_.max_rows || stop_; }
  bool Urgent() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stop_ || flush_wanted_ > flush_done_; }
  bool Crowded() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return rows_.size() >= options_.max_rows / 10; }
  bool Due() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return Urgent() || !rows_.empty() || !states_.empty(); }

  Store* const store_;
  const Options options_;
  mutable absl::Mutex mutex_;
  std::vector<HistoryRow> rows_ ABSL_GUARDED_BY(mutex_);
  std::vector<RunRecord> states_ ABSL_GUARDED_BY(mutex_);
  int64_t flush_wanted_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t flush_done_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status last_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace strata::service
