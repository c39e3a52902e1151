// Splitting work over threads. Chunks depend on the amount of work only, never on the number of threads, so results do
// not either.
//
// The calling thread takes part: it and its workers take chunks from one counter, so a worker that the operating system
// has put aside costs nothing but its help. There is no barrier: the caller waits only for chunks that a worker has
// begun.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

namespace strata {

// The workers of one thread. They sleep when there has been no work for a while. Thread-compatible.
class WorkerPool {
 public:
  explicit WorkerPool(int workers);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  static constexpr int64_t kMaxChunks = 1 << 18;

  int workers() const;
  // Calls f(context, chunk, slot) for every chunk (at most kMaxChunks); calls that overlap have different slots in [0,
  // workers()]. Returns when all are done. `f` does not throw and does not call Run.
  void Run(int64_t chunks, void (*f)(void* context, int64_t chunk, int slot), void* context);

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

// The pool of the calling thread, made (or grown) on demand; it ends with the thread.
WorkerPool& PoolOfThisThread(int workers);

// Calls f(chunk, slot) for every chunk, on up to `threads` threads; slots are below `threads`.
template <typename F>
void ParallelFor(int threads, int64_t chunks, F f) {
  if (threads <= 1 || chunks <= 1) {
    for (int64_t c = 0; c < chunks; ++c) f(c, 0);
    return;
  }
  PoolOfThisThread(threads - 1)
      .Run(
          chunks, [](void* context, int64_t chunk, int slot) { (*static_cast<F*>(context))(chunk, slot); }, &f);
}

// Calls f(begin, end) for consecutive chunks of [0, n) of at most `grain`.
template <typename F>
void ParallelChunks(int threads, int64_t n, int64_t grain, F f) {
  grain = std::max(grain, n / WorkerPool::kMaxChunks + 1);
  ParallelFor(threads, (n + grain - 1) / grain, [&](int64_t c, int) { f(c * grain, std::min(n, (c + 1) * grain)); });
}

}  // namespace strata
