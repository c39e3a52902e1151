// Bytes that several holders share: what one of them has, the others lack.
//
//   ByteBudget budget(1 << 30);
//   ByteBudget::Share share(&budget);
//   STRATA_RETURN_IF_ERROR(share.Reach(size));  // given back when `share` goes
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

namespace strata::service {

// Thread-safe. Outlives its shares.
class ByteBudget {
 public:
  explicit ByteBudget(uint64_t bytes) : bytes_(bytes) {}
  ByteBudget(const ByteBudget&) = delete;

  // Thread-compatible.
  class Share {
   public:
    explicit Share(ByteBudget* of) : of_(of) {}
    ~Share() {
      absl::MutexLock lock(&of_->mutex_);
      of_->taken_ -= held_;
    }
    Share(const Share&) = delete;

    // Holds at least `bytes` from now on. RESOURCE_EXHAUSTED, and nothing changes, if that is more than is left.
    absl::Status Reach(uint64_t bytes) {
      if (bytes <= held_) return absl::OkStatus();
      absl::MutexLock lock(&of_->mutex_);
      const uint64_t left = of_->bytes_ - of_->taken_;
      if (bytes - held_ > left) {
        return absl::ResourceExhaustedError(absl::StrCat("imports: must have at most ", of_->bytes_,
                                                         " bytes together, got ", of_->taken_ - held_, " and ", bytes));
      }
      of_->taken_ += bytes - held_;
      held_ = bytes;
      return absl::OkStatus();
    }

   private:
    ByteBudget* const of_;
    uint64_t held_ = 0;
  };

 private:
  const uint64_t bytes_;
  absl::Mutex mutex_;
  uint64_t taken_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace strata::service
