// A part of Fuse.
#pragma once

#include "engine/graph/graph.h"

namespace strata {

// Gives every reader of a cheap elementwise value a copy of its own, where reading the value's operands again costs no
// more than storing and reading the value: x - mean in the forward and in the backward pass. Copies fuse with their
// reader.
Graph CopyCheapValues(const Graph& graph);

}  // namespace strata
