// Nodes as fused programs: what fusing, kernels and plans know of a fused node holds for a lone elementwise op and a
// lone sum as well.
#pragma once

#include <optional>
#include <vector>

#include "engine/graph/graph.h"

namespace strata {

// How a reduction sums over the axes of its operand; false if it is no sum over the first or the last axes.
bool SumPattern(const Shape& x, const std::vector<int64_t>& axes, FusedAttrs::Store* store, int32_t* row_axes);

// The program that computes the node: a fused node's own; one of a single instruction or of a single sum. Nothing for
// other nodes.
std::optional<FusedAttrs> ProgramOf(const Graph& graph, const Node& node);

}  // namespace strata
