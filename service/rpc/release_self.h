// The end of a reactor that keeps itself alive while its call lives.
#pragma once

#include <memory>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "service/core/worker_pool.h"

namespace strata::service {

// What OnDone does: takes the reactor's reference to itself out under `mutex` and lets it go on the pool. It may be the
// last one, and the reactor owns the mutex: so the mutex is free before the pool gets the reference.
template <typename Reactor>
void ReleaseSelf(WorkerPool* pool, absl::Mutex* mutex, std::shared_ptr<Reactor>* self) {
  std::shared_ptr<Reactor> last;
  {
    absl::MutexLock lock(mutex);
    last = std::move(*self);
  }
  pool->Add([last = std::move(last)] {});
}

}  // namespace strata::service
