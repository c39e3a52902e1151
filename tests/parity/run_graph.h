// Runs one graph both ways: naively in double, and through passes, plan and kernels as the server does.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "engine/ops/record.h"

namespace strata::parity {

struct GraphValues {
  std::map<std::string, RefTensor> outputs;
  std::map<std::string, RefTensor> variables;  // afterwards
};

// `tensors` holds every input and variable by name; they are converted to the graph's types.
using Feed = std::function<const Tensor*(const std::string& name)>;

absl::StatusOr<GraphValues> RunInDouble(const Graph& graph, const Feed& inputs, const Feed& variables);
absl::StatusOr<GraphValues> RunOptimized(const Graph& graph, const Feed& inputs, const Feed& variables);

struct Way {
  const char* name;
  absl::StatusOr<GraphValues> (*run)(const Graph& graph, const Feed& inputs, const Feed& variables);
};
// "double" and "engine".
const std::vector<Way>& Ways();

}  // namespace strata::parity
