// A part of Fuse.
#pragma once

#include "engine/graph/graph.h"

namespace strata {

// Adds a bias or a relu that follows a product to the product's own attributes.
Graph FuseEpilogues(const Graph& graph);

}  // namespace strata
