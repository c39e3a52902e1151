// Groups of elementwise nodes (with sums at their end) that can run as one node: all work on the same iteration space,
// and no path leaves a group and comes back.
#pragma once

#include <vector>

#include "engine/graph/graph.h"

namespace strata {

struct Cluster {
  Shape space;
  int32_t row_axes = -1;        // of its sums by rows or columns; -1 while there is none
  std::vector<NodeId> members;  // ascending
  bool update = false;          // nothing but assignments depends on it
};

struct Clusters {
  std::vector<Cluster> clusters;
  std::vector<int32_t> of_node;  // -1: the node stands alone
};

// Whether fused nodes can have elements of this type.
inline bool IsFusable(DType t) { return t == DType::kF32 || t == DType::kBool; }

Clusters FindClusters(const Graph& graph);

}  // namespace strata
