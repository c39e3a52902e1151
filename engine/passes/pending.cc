// Passes that do not exist yet change nothing.
#include "engine/passes/passes.h"

namespace strata {

Graph Simplify(const Graph& graph) { return Prune(graph); }
Graph ChooseLayouts(const Graph& graph) { return Prune(graph); }
Graph Fuse(const Graph& graph) { return Prune(graph); }

}  // namespace strata
