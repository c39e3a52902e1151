#include "engine/passes/passes.h"
namespace strata {
Graph Fuse(const Graph& graph) { return Prune(graph); }
}  // namespace strata
