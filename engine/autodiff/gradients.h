// Reverse-mode differentiation: gradients are more nodes of the same graph.
#pragma once

#include <span>
#include <vector>

#include "engine/graph/graph.h"

namespace strata {

// Pulls `cotangents` (one per output, of its shape; empty values count as zero) back to `wrt`. An entry is empty where
// no gradient flows. Only nodes between the two are visited.
std::vector<Value> Gradients(std::span<const Value> outputs, std::span<const Value> cotangents,
                             std::span<const Value> wrt);

// Of a scalar: the cotangent is one.
std::vector<Value> Gradients(Value scalar, std::span<const Value> wrt);

}  // namespace strata
