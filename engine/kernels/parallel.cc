#include "engine/kernels/parallel.h"

#include <immintrin.h>
#include <omp.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace strata {
namespace {

// How long a thread looks for work, or for the end of others' work, before it sleeps. Between two steps of a plan there
// are a few microseconds; waking a thread takes tens.
constexpr auto kSpin = std::chrono::microseconds(100);

// Bits of each of a ticket's two counts.
constexpr int kBits = 20;
constexpr uint64_t kMask = (uint64_t{1} << kBits) - 1;
static_assert(WorkerPool::kMaxChunks <= static_cast<int64_t>(kMask));

// Spins until `done` or for kSpin; returns done().
template <typename Done>
bool SpinUntil(Done done) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      _mm_pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return done();
}

}  // namespace

struct WorkerPool::Shared {
  // The job's number in the upper half, the next chunk in the lower one: a worker that is late cannot take a chunk of
  // another job.
  alignas(64) std::atomic<uint64_t> ticket{0};
  std::atomic<uint32_t> chunks{0};
  std::atomic<void (*)(void*, int64_t, int)> function{nullptr};
  std::atomic<void*> context{nullptr};
  alignas(64) std::atomic<uint32_t> done{0};
  std::atomic<bool> caller_sleeps{false};
  alignas(64) std::atomic<uint32_t> job{0};  // what workers sleep on
  std::atomic<int> sleepers{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;

  // Takes chunks of the current job while there are some.
  void Work(int slot) {
    for (;;) {
      uint64_t t = ticket.load(std::memory_order_acquire);
      const uint32_t all = chunks.load(std::memory_order_relaxed);
      const auto f = function.load(std::memory_order_relaxed);
      void* const c = context.load(std::memory_order_relaxed);
      const uint64_t front = t >> kBits & kMask, back = t & kMask;
      if (front + back >= all) return;
      // If this succeeds, the job was current all along: what was read above belongs to it.
      if (!ticket.compare_exchange_weak(t, t + (slot == 0 ? uint64_t{1} << kBits : 1), std::memory_order_acq_rel))
        continue;
      f(c, static_cast<int64_t>(slot == 0 ? front : all - 1 - back), slot);
      if (done.fetch_add(1) + 1 == all && caller_sleeps.load()) done.notify_all();
    }
  }

  void Loop(int slot) {
    omp_set_num_threads(1);  // oneDNN, called from a chunk, stays on this thread
    while (!stop.load(std::memory_order_relaxed)) {
      const uint32_t seen = job.load(std::memory_order_acquire);
      Work(slot);
      const auto changed = [&] { return job.load(std::memory_order_acquire) != seen; };
      if (SpinUntil(changed)) continue;
      sleepers.fetch_add(1);
      job.wait(seen);
      sleepers.fetch_sub(1);
    }
  }
};

WorkerPool::WorkerPool(int workers) : shared_(std::make_unique<Shared>()) {
  for (int i = 0; i < workers; ++i) shared_->threads.emplace_back([s = shared_.get(), i] { s->Loop(i + 1); });
}

WorkerPool::~WorkerPool() {
  shared_->stop = true;
  shared_->job.fetch_add(1);
  shared_->job.notify_all();
  for (std::thread& t : shared_->threads) t.join();
}

int WorkerPool::workers() const { return static_cast<int>(shared_->threads.size()); }

void WorkerPool::Run(int64_t chunks, void (*f)(void*, int64_t, int), void* context) {
  Shared& s = *shared_;
  const uint32_t all = static_cast<uint32_t>(chunks);
  // No worker holds a chunk of an older job here, and none can take one: its counter is used up.
  s.done.store(0, std::memory_order_relaxed);
  s.function.store(f, std::memory_order_relaxed);
  s.context.store(context, std::memory_order_relaxed);
  s.chunks.store(0, std::memory_order_relaxed);
  const uint64_t number = (s.ticket.load(std::memory_order_relaxed) >> 2 * kBits) + 1;
  s.ticket.store(number << 2 * kBits, std::memory_order_release);
  s.chunks.store(all, std::memory_order_release);
  s.job.fetch_add(1, std::memory_order_seq_cst);
  if (s.sleepers.load(std::memory_order_seq_cst) > 0) s.job.notify_all();
  s.Work(0);
  const auto finished = [&] { return s.done.load(std::memory_order_acquire) == all; };
  if (SpinUntil(finished)) return;
  s.caller_sleeps = true;
  for (uint32_t now = s.done.load(); now != all; now = s.done.load()) s.done.wait(now);
  s.caller_sleeps = false;
}

WorkerPool& PoolOfThisThread(int workers) {
  thread_local std::unique_ptr<WorkerPool> pool;
  if (pool == nullptr || pool->workers() < workers) pool = std::make_unique<WorkerPool>(workers);
  return *pool;
}

}  // namespace strata
