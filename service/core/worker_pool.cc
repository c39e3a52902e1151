#include "service/core/worker_pool.h"

#include <utility>

#include "engine/base/status.h"
#include "service/batching/thread.h"

namespace strata::service {

WorkerPool::WorkerPool(const Options& options) : options_(options) {
  STRATA_CHECK(options.threads > 0);
  for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { Loop(); });
}

WorkerPool::~WorkerPool() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

bool WorkerPool::TryAdd(Job job) {
  absl::MutexLock lock(&mutex_);
  if (stop_ || jobs_.size() >= options_.max_queue) return false;
  jobs_.push_back(std::move(job));
  return true;
}

void WorkerPool::Add(Job job) {
  absl::MutexLock lock(&mutex_);
  jobs_.push_back(std::move(job));
}

size_t WorkerPool::queued() const {
  absl::MutexLock lock(&mutex_);
  return jobs_.size();
}

void WorkerPool::Loop() {
  SetUpThread(options_.name, options_.nice);
  for (;;) {
    Job job;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &WorkerPool::Due));
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace strata::service
