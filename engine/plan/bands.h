// Finds the bands of a plan: see Band.
#pragma once

#include <vector>

#include "engine/plan/plan.h"

namespace strata {

// Among the first `end` steps. `roots` has, for each value, the one in whose memory it lives; for `cache_bytes` see
// PlanOptions. Cuts the steps' kernels.
std::vector<Band> CutIntoBands(const Graph& graph, const std::vector<ValueId>& roots, size_t end, int64_t cache_bytes,
                               std::vector<PlanStep>* steps);

}  // namespace strata
