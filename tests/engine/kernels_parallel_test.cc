#include "engine/kernels/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace strata {
namespace {

TEST(WorkerPool, EveryChunkOnceOnSlotsOfItsOwn) {
  WorkerPool pool(3);
  for (int round = 0; round < 2000; ++round) {
    const int64_t chunks = 1 + round % 37;
    struct Job {
      std::vector<std::atomic<int>> runs;
      std::atomic<int> busy[4] = {};
      std::atomic<bool> clash{false};
      explicit Job(size_t n) : runs(n) {}
    } job(static_cast<size_t>(chunks));
    pool.Run(
        chunks,
        [](void* context, int64_t chunk, int slot) {
          Job& j = *static_cast<Job*>(context);
          if (j.busy[slot].fetch_add(1) != 0) j.clash = true;
          ++j.runs[static_cast<size_t>(chunk)];
          j.busy[slot].fetch_sub(1);
        },
        &job);
    for (const auto& n : job.runs) ASSERT_EQ(n, 1) << "round " << round;
    ASSERT_FALSE(job.clash) << "round " << round;
  }
}

TEST(WorkerPool, WakesWorkersThatSleep) {
  WorkerPool pool(1);
  std::atomic<int> on_worker{0};
  for (int round = 0; round < 200 && on_worker == 0; ++round) {
    // Longer than a worker looks for work; then chunks that are long enough for it to come.
    std::this_thread::sleep_for(std::chrono::microseconds(300));
    pool.Run(
        64,
        [](void* context, int64_t, int slot) {
          const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(50);
          while (std::chrono::steady_clock::now() < end) {
          }
          if (slot == 1) ++*static_cast<std::atomic<int>*>(context);
        },
        &on_worker);
  }
  EXPECT_GT(on_worker, 0);
}

TEST(ParallelChunks, CoverTheRange) {
  for (const int64_t n : {int64_t{0}, int64_t{1}, int64_t{17}, int64_t{1000}, WorkerPool::kMaxChunks + 5}) {
    for (const int64_t grain : {1, 7, 5000}) {
      std::vector<std::atomic<uint8_t>> seen(static_cast<size_t>(n));
      ParallelChunks(2, n, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
      });
      for (const auto& s : seen) ASSERT_EQ(s, 1) << n << " by " << grain;
    }
  }
}

}  // namespace
}  // namespace strata
