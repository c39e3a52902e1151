// Which waiting requests run now, together. Pure: the same queue and time give the same answer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/time/time.h"

namespace strata::service {

struct BatchLimits {
  // Requests may run together at all: every row of the answer depends on its own row only.
  bool batchable = false;
  int64_t max_rows = 128;
  // How long the oldest request may wait for company although a worker is free. Zero: it never does; requests only meet
  // because all workers are busy.
  absl::Duration max_delay = absl::ZeroDuration();
};

// What the policy knows of a request. Requests of equal `signature` differ in their number of rows only.
struct Waiting {
  uint64_t signature = 0;
  int64_t rows = 1;
  absl::Time arrived;
  absl::Time deadline = absl::InfiniteFuture();
  bool cancelled = false;
};

struct Decision {
  std::vector<size_t> drop;  // expired or cancelled: never executed
  std::vector<size_t> run;   // together, in order of arrival
  // With nothing to run: when to ask again (a new request is another reason).
  absl::Time wake = absl::InfiniteFuture();
};

// Asked when a worker is free. `queue` is in order of arrival. The oldest request that is not dropped is always part of
// `run` unless it waits for company; it never waits beyond `max_delay`, nor beyond its deadline.
Decision Decide(std::span<const Waiting> queue, absl::Time now, const BatchLimits& limits);

// The number of rows to compute for `rows`: a few sizes (1, 2, 3, 4, 6, 8, 12, ...) instead of all, so that few plans
// are compiled; at most `max_rows` unless `rows` is more.
int64_t PaddedRows(int64_t rows, int64_t max_rows);

}  // namespace strata::service
