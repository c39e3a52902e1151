// Timing that can be compared with the peers' scripts (tests/peers/common.py does the same): an exclusive lock, a
// warm-up, then chunks of steps; a chunk during which other processes used the processor is thrown away and replaced.
#pragma once

#include <functional>
#include <string>

namespace strata::bench {

struct Options {
  double min_seconds = 3;
  double warm_seconds = 0.6;
  double patience = 8;  // times min_seconds, before noisy chunks are kept
  int threads = 1;
};

struct Figures {
  double step_ms = 0, p10 = 0, p90 = 0, first_step_ms = 0;  // median, percentiles
  double other_cpu = 0, own_cpu = 0, load1 = 0;             // cores used meanwhile
  int64_t steps = 0;
  int dropped_chunks = 0;
};

// `step` runs one step.
Figures Measure(const std::function<void()>& step, const Options& options);

// Waits for the lock that the peers' scripts take too ($STRATA_BENCH_LOCK, default <tmp>/bench.lock); held until exit.
// Nothing to do if $STRATA_BENCH_LOCKED is 1.
void TakeLock();

void ResetPeakRss();
double PeakRssMb();
std::string CpuText();

}  // namespace strata::bench
