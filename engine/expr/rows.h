// Whether a program keeps the rows of a batch apart, so that requests may be predicted together.
#pragma once

#include <set>
#include <string>

#include "engine/expr/evaluate.h"

namespace strata::expr {

// True if every result but the last `ignored` ones has the batch as its first axis and each of its rows depends on the
// same row of the tensors named in `batched` only, whose first axis is the batch. Proved by following the batch axis
// through the ops that the program emits; what the proof does not know counts as dependent.
bool RowsIndependent(const Program& program, const Environment& environment, const std::set<std::string>& batched,
                     size_t ignored = 0);

}  // namespace strata::expr
