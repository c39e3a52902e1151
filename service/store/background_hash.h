// SHA-256 on a thread of its own, while the caller reads or writes the same bytes.
#pragma once

#include <deque>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "engine/base/sha256.h"

namespace strata::service {

// Thread-compatible.
class BackgroundHash {
 public:
  BackgroundHash() : thread_([this] { Loop(); }) {}
  ~BackgroundHash() { Join(); }
  BackgroundHash(const BackgroundHash&) = delete;

  // The bytes stay where they are, unchanged, until Hex or the destructor returns.
  void Add(const void* data, size_t size) {
    absl::MutexLock lock(&mutex_);
    pieces_.emplace_back(static_cast<const char*>(data), size);
  }
  // Of everything that was added. Call once, and add nothing afterwards.
  std::string Hex() {
    Join();
    return hash_.Hex();
  }

 private:
  bool Due() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return !pieces_.empty() || end_; }
  void Loop() {
    for (;;) {
      absl::string_view piece;
      {
        absl::MutexLock lock(&mutex_);
        mutex_.Await(absl::Condition(this, &BackgroundHash::Due));
        if (pieces_.empty()) return;
        piece = pieces_.front();
        pieces_.pop_front();
      }
      hash_.Add(piece.data(), piece.size());
    }
  }
  void Join() {
    {
      absl::MutexLock lock(&mutex_);
      end_ = true;
    }
    if (thread_.joinable()) thread_.join();
  }

  absl::Mutex mutex_;
  std::deque<absl::string_view> pieces_ ABSL_GUARDED_BY(mutex_);
  bool end_ ABSL_GUARDED_BY(mutex_) = false;
  Sha256 hash_;         // of the thread until it has ended
  std::thread thread_;  // the last member: it begins when the others are there
};

}  // namespace strata::service
