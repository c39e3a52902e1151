// Rewrites of a graph. Each pass takes a verified graph and returns one that computes the same; the caller verifies
// again.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"

namespace strata {

// Constant folding, common subexpressions, algebraic identities, transposes folded into products, dead code.
Graph Simplify(const Graph& graph);

// Moves convolutions' layout changes: transposes sink through elementwise ops, pooling and reductions and cancel;
// transposed weights become a flag of the convolution.
Graph ChooseLayouts(const Graph& graph);

// Moves products out of scans: one product over all steps instead of one a step.
Graph LiftFromScans(const Graph& graph);

// Factors and offsets by channel after a product with constant weights join the weights and the bias.
Graph FoldAffine(const Graph& graph);

// Sums over axes that are not next to each other, first within rows; factors that are the same along the summed axes
// leave the sum.
Graph SimplifySums(const Graph& graph);

// Elementwise chains, with reductions at their end and assignments in place, become single nodes; bias and relu join
// the convolution before them.
Graph Fuse(const Graph& graph);

// Variables become constants: for published versions, whose weights never change, so that what depends on weights alone
// is computed, and packed, once. Assignments go. INVALID_ARGUMENT if a value is missing or does not fit.
absl::StatusOr<Graph> BindVariables(const Graph& graph,
                                    const std::map<std::string, std::shared_ptr<const Tensor>>& values);

// The same computation for a range of `rows` rows of its batch: axis 0 of the inputs marked in `batched`, and of every
// output, counts rows; but the last `sums` outputs are sums over all rows, and those of the ranges add up to them.
// Nothing, and a reason, if rows meet anywhere else: then no part can be computed without the others.
std::optional<Graph> CutRows(const Graph& graph, const std::vector<bool>& batched, size_t sums, int64_t rows,
                             std::string* why);

// All of them, in order, each verified. INTERNAL names the pass that broke the graph.
absl::StatusOr<Graph> Optimize(Graph graph);

}  // namespace strata
