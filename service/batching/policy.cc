#include "service/batching/policy.h"

#include <algorithm>

namespace strata::service {

Decision Decide(std::span<const Waiting> queue, absl::Time now, const BatchLimits& limits) {
  Decision decision;
  int64_t rows = 0;
  bool full = false;
  const Waiting* head = nullptr;
  absl::Time first_deadline = absl::InfiniteFuture();
  for (size_t i = 0; i < queue.size(); ++i) {
    const Waiting& w = queue[i];
    if (w.cancelled || w.deadline <= now) {
      decision.drop.push_back(i);
      continue;
    }
    first_deadline = std::min(first_deadline, w.deadline);
    if (head == nullptr) {
      head = &w;
    } else if (full || !limits.batchable || w.signature != head->signature) {
      continue;
    } else if (rows + w.rows > limits.max_rows) {
      full = true;  // what came later does not overtake it
      continue;
    }
    decision.run.push_back(i);
    rows += w.rows;
  }
  if (head == nullptr || !limits.batchable || full || rows >= limits.max_rows) return decision;
  const absl::Time start = head->arrived + limits.max_delay;
  // A deadline that comes first leaves no time for company.
  if (start <= now || first_deadline <= start) return decision;
  decision.run.clear();
  decision.wake = start;
  return decision;
}

int64_t PaddedRows(int64_t rows, int64_t max_rows) {
  int64_t size = 1;
  while (size < rows) {
    const int64_t half = size + size / 2;
    if (half >= rows && half > size) {
      size = half;
      break;
    }
    size *= 2;
  }
  return std::max(rows, std::min(size, max_rows));
}

}  // namespace strata::service
