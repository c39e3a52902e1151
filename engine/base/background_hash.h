// SHA-256 on a thread of its own, while the caller reads, writes or sends the same bytes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "engine/base/sha256.h"

namespace strata {

// Thread-compatible.
class BackgroundHash {
 public:
  // `first` is hashed at once and need not stay.
  explicit BackgroundHash(absl::string_view first = {}) {
    hash_.Add(first.data(), first.size());
    thread_ = std::thread([this] { Loop(); });
  }
  // What is not hashed yet is left.
  ~BackgroundHash() {
    {
      absl::MutexLock lock(&mutex_);
      pieces_.clear();
    }
    Join();
  }
  BackgroundHash(const BackgroundHash&) = delete;

  // The bytes stay where they are, unchanged, until they are hashed: until Join or the destructor returns, or Await
  // does for this call's result, the number of bytes that were added so far.
  uint64_t Add(absl::string_view bytes) {
    absl::MutexLock lock(&mutex_);
    added_ += bytes.size();
    for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), kPieceBytes))) {
      pieces_.push_back(bytes.substr(0, kPieceBytes));
    }
    return added_;
  }
  // Waits until as many of the bytes that were added are hashed.
  void Await(uint64_t bytes) {
    const auto due = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return hashed_ >= bytes; };
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&due));
  }
  // Waits until everything that was added is hashed. Nothing is added afterwards.
  void Join() {
    {
      absl::MutexLock lock(&mutex_);
      end_ = true;
    }
    if (thread_.joinable()) thread_.join();
  }
  // Of everything that was added. Call once.
  std::string Hex() {
    Join();
    return hash_.Hex();
  }

 private:
  // What the destructor may have to wait for.
  static constexpr size_t kPieceBytes = size_t{1} << 20;

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
      absl::MutexLock lock(&mutex_);
      hashed_ += piece.size();
    }
  }

  absl::Mutex mutex_;
  std::deque<absl::string_view> pieces_ ABSL_GUARDED_BY(mutex_);
  uint64_t added_ ABSL_GUARDED_BY(mutex_) = 0, hashed_ ABSL_GUARDED_BY(mutex_) = 0;  // but for `first`
  bool end_ ABSL_GUARDED_BY(mutex_) = false;
  Sha256 hash_;  // of the thread while there is one
  std::thread thread_;
};

}  // namespace strata
