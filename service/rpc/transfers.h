// What keeps transfers of files from holding the server's memory: few at a time, and none whose client is silent.
#pragma once

#include <grpcpp/alarm.h>

#include <algorithm>
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
    // How long a transfer may take: a client that sends a byte now and then does not keep its place for ever.
    absl::Duration longest = absl::Hours(1);
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
  const Options& options() const { return options_; }

 private:
  const Options options_;
  std::atomic<int> taken_{0};
};

// Tells when a client has been silent, or a transfer has gone on, for too long. Thread-compatible: used under its
// reactor's mutex.
class SilenceAlarm {
 public:
  explicit SilenceAlarm(const Transfers::Options& limits) : limits_(limits) {}

  void Heard() { heard_ = absl::Now(); }
  // DEADLINE_EXCEEDED if it has been too long.
  absl::Status Check() const {
    const absl::Time now = absl::Now();
    if (now >= heard_ + limits_.silence) {
      return absl::DeadlineExceededError(absl::StrCat("transfer: the client must go on within ",
                                                      absl::FormatDuration(limits_.silence), ", got nothing from it"));
    }
    if (now < begun_ + limits_.longest) return absl::OkStatus();
    return absl::DeadlineExceededError(
        absl::StrCat("transfer: must end within ", absl::FormatDuration(limits_.longest), ", got no end"));
  }
  // Calls `look` on a thread of gRPC's when it may have been too long; Arm again if it has not. `look` must not own
  // what owns the alarm.
  void Arm(std::function<void()> look) {
    alarm_ = std::make_unique<grpc::Alarm>();
    const absl::Time due = std::min(heard_ + limits_.silence, begun_ + limits_.longest);
    alarm_->Set(absl::ToChronoTime(due), [look = std::move(look)](bool rang) {
      if (rang) look();
    });
  }
  void Stop() { alarm_.reset(); }

 private:
  const Transfers::Options limits_;
  const absl::Time begun_ = absl::Now();
  absl::Time heard_ = begun_;
  std::unique_ptr<grpc::Alarm> alarm_;
};

}  // namespace strata::service
