// Plans for ranges of rows of a batch. Where rows are independent of each other, each thread runs its own range from
// beginning to end, without waiting for others in between, and what it has written is still in its cache.
#pragma once

#include <memory>
#include <vector>

#include "engine/plan/plan.h"

namespace strata {

struct RowPart {
  int64_t first_row = 0, rows = 0;   // -1: all, whatever a row is
  std::shared_ptr<const Plan> plan;  // parts of as many rows share it
};

// One part per thread, of a few rows at least. `batched` marks the inputs whose axis 0 counts rows; that of every
// output does, but of the last `sums`, which are sums over all rows (CutRows). Empty if the work cannot be divided that
// way: rows meet, or there are too few.
std::vector<RowPart> PlanByRows(const Graph& graph, const std::vector<bool>& batched, size_t sums,
                                const PlanOptions& options);

}  // namespace strata
