// One reader of a run's history: first what the store holds, then what happens.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "service/core/run.h"

namespace strata::service {

// Thread-compatible.
class Watcher {
 public:
  // `wake` says that Next may have more; see Run::Watch.
  Watcher(std::shared_ptr<Run> run, Store* store, uint64_t from_step, std::function<void()> wake);

  struct Events {
    std::vector<v1::RunEvent> events;
    // Nothing follows: the run has ended.
    bool last = false;
  };
  // What is new, at most about 256 events; empty if nothing is. Blocks on the disk. NOT_FOUND once the run is
  // deleted, UNAVAILABLE once the server stops.
  absl::StatusOr<Events> Next();

 private:
  const std::shared_ptr<Run> run_;
  Store* const store_;
  const int64_t from_step_;
  const std::shared_ptr<std::function<void()>> wake_;
  int64_t position_ = 0;
  uint64_t sent_state_ = 0;
};

}  // namespace strata::service
