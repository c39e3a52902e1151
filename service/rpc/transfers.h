// What keeps transfers of files from holding the server's memory: few at a time, and none whose client is silent.
#pragma once

#include <grpcpp/alarm.h>

#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace strata::service {

// Thread-safe. Outlives its places.
class Transfers {
 public:
  struct Options {
    int max = 8;
    // How long a client may neither send nor take anything.
    absl::Duration silence = absl::Seconds(60);
  };
  explicit Transfers(const Options& options) : options_(options) {}

  // One of the places, until it goes.
  class Place {
   public:
    explicit Place(Transfers* of) : of_(of) {}
    ~Place() { --of_->taken_; }
    Place(const Place&) = delete;

   private:
    Transfers* const of_;
  };
  // RESOURCE_EXHAUSTED if all are taken. Does not block.
  absl::StatusOr<std::unique_ptr<Place>> Enter() {
    auto place = std::make_unique<Place>(this);
    const int taken = ++taken_;
    if (taken <= options_.max) return place;
    return absl::ResourceExhaustedError(
        absl::StrCat("transfers of files: must be at most ", options_.max, " at a time, got one more"));
  }
  absl::Duration silence() const { return options_.silence; }

 private:
  const Options options_;
  std::atomic<int> taken_{0};
};

// Tells when a client has been silent for too long. Thread-compatible: used under its reactor's mutex.
class SilenceAlarm {
 public:
  explicit SilenceAlarm(absl::Duration limit) : limit_(limit) {}

  void Heard() { heard_ = absl::Now(); }
  bool TooLong() const { return absl::Now() >= heard_ + limit_; }
  absl::Status status() const {
    return absl::DeadlineExceededError(
        absl::StrCat("transfer: the client must go on within ", absl::FormatDuration(limit_), ", got nothing from it"));
  }
  // Calls `look` on a thread of gRPC's when it may have been too long; Arm again if it has not. `look` must not own
  // what owns the alarm.
  void Arm(std::function<void()> look) {
    alarm_ = std::make_unique<grpc::Alarm>();
    alarm_->Set(absl::ToChronoTime(heard_ + limit_), [look = std::move(look)](bool due) {
      if (due) look();
    });
  }
  void Stop() { alarm_.reset(); }

 private:
  const absl::Duration limit_;
  absl::Time heard_ = absl::Now();
  std::unique_ptr<grpc::Alarm> alarm_;
};

}  // namespace strata::service
