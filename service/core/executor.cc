#include "service/core/executor.h"

#include <utility>

#include "service/batching/thread.h"

namespace strata::service {

Executor::Executor(int nice) : nice_(nice), thread_([this] { Loop(); }) {}

void Executor::Schedule(std::shared_ptr<Actor> actor) {
  absl::MutexLock lock(&mutex_);
  if (!stop_) ready_.push_back(std::move(actor));
}

void Executor::Stop() {
  std::deque<std::shared_ptr<Actor>> forgotten;
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
    forgotten.swap(ready_);
  }
  if (thread_.joinable()) thread_.join();
}

void Executor::Loop() {
  SetUpThread("train", nice_);
  for (;;) {
    std::shared_ptr<Actor> actor;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &Executor::Due));
      if (stop_) return;
      actor = std::move(ready_.front());
      ready_.pop_front();
    }
    if (actor->RunOne()) Schedule(std::move(actor));
  }
}

}  // namespace strata::service
