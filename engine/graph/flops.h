// How much arithmetic a graph is.
#pragma once

#include <cstdint>

#include "engine/graph/graph.h"

namespace strata {

// Floating-point operations of one run. Multiply-adds of products count as two, an elementwise operation as one per
// element of its result, a softmax too; a scan as its body times its steps. Movement and reductions are not counted.
int64_t CountFlops(const Graph& graph);

}  // namespace strata
