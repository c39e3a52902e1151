// The oracle: runs any graph naively, in double precision.
#pragma once

#include <span>
#include <vector>

#include "engine/graph/graph.h"
#include "engine/ops/record.h"

namespace strata {

RefTensor ToRef(const TensorView& t);
Tensor FromRef(const RefTensor& t, DType dtype);

// Runs a graph without variables: one tensor per input, in order; returns the outputs in order.
std::vector<RefTensor> EvaluateReference(const Graph& graph, std::span<const RefTensor> inputs);

// Runs a graph with variables: `variables` has one tensor per variable and is updated by assignments, all of them after
// everything else. Assignments are left out if `commit` says so of the outputs.
std::vector<RefTensor> RunReference(const Graph& graph, std::span<const RefTensor> inputs,
                                    std::vector<RefTensor>* variables,
                                    bool (*commit)(const std::vector<RefTensor>& outputs) = nullptr);

}  // namespace strata
