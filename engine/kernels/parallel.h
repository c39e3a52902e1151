// Splitting work over the threads of the calling executor. Chunks depend on the amount of work only, never on the
// number of threads, so results do not either.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace strata {

// Calls f(begin, end) for consecutive chunks of [0, n) of at most `grain`; in parallel if `threads` > 1 and there are
// several.
template <typename F>
void ParallelChunks(int threads, int64_t n, int64_t grain, F f) {
  const int64_t chunks = (n + grain - 1) / grain;
  if (threads <= 1 || chunks <= 1) {
    for (int64_t c = 0; c < chunks; ++c) f(c * grain, std::min(n, (c + 1) * grain));
    return;
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t c = 0; c < chunks; ++c) f(c * grain, std::min(n, (c + 1) * grain));
}

}  // namespace strata
