// The threads that train. A run always works on the same one: its kernels' pool of workers belongs to that thread.
#pragma once

#include <deque>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace strata::service {

// Something with a mailbox.
class Actor {
 public:
  virtual ~Actor() = default;
  // Does one thing; true if there is more to do now. Called on the executor's thread only.
  virtual bool RunOne() = 0;
};

// One thread; actors that have something to do take turns. Thread-safe.
class Executor {
 public:
  // `nice` is added to the thread's niceness: inference goes first.
  explicit Executor(int nice);
  ~Executor() { Stop(); }

  // The actor is asked soon. The caller makes sure that an actor is not scheduled twice.
  void Schedule(std::shared_ptr<Actor> actor);
  // Ends after what is running; the rest is forgotten.
  void Stop();

 private:
  void Loop();
  bool Due() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stop_ || !ready_.empty(); }

  const int nice_;
  absl::Mutex mutex_;
  std::deque<std::shared_ptr<Actor>> ready_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace strata::service
