// Graphs for tests of passes, and checks of what a pass leaves.
#pragma once

#include <algorithm>

#include "engine/autodiff/gradients.h"
#include "engine/passes/passes.h"
#include "tests/engine/kernels_support.h"

namespace strata {

inline int CountOps(const Graph& g, Op op) {
  return static_cast<int>(std::count_if(g.nodes().begin(), g.nodes().end(), [&](const Node& n) { return n.op == op; }));
}

// Nodes that do something at run time.
inline int CountSteps(const Graph& g) {
  return static_cast<int>(std::count_if(g.nodes().begin(), g.nodes().end(), [](const Node& n) {
    return n.op != Op::kInput && n.op != Op::kVariable && n.op != Op::kConstant && n.op != Op::kReshape;
  }));
}

// The optimised graph, checked against the reference of the original.
inline Graph OptimizeAndCompare(const Graph& g, const CompareOptions& o = {}) {
  EXPECT_TRUE(g.ok()) << g.status();
  absl::StatusOr<Graph> optimized = Optimize(Prune(g));
  EXPECT_TRUE(optimized.ok()) << optimized.status() << ToText(g);
  if (!optimized.ok()) return Graph();
  ExpectMatchesReference(*optimized, o, 1, &g);
  return *std::move(optimized);
}

inline Value Parameter(Graph* g, const std::string& name, Shape shape) {
  return g->AddVariable({name, DType::kF32, std::move(shape)});
}

// Adam without bias correction, on every parameter.
inline void AddAdam(Graph* g, Value loss, std::span<const Value> parameters) {
  const std::vector<Value> grads = Gradients(loss, parameters);
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Shape shape = parameters[i].shape();
    const std::string name = absl::StrCat("slot", i);
    const Value m = g->AddVariable({name + ".m", DType::kF32, shape, VariableInfo::Kind::kSlot});
    const Value v = g->AddVariable({name + ".v", DType::kF32, shape, VariableInfo::Kind::kSlot});
    const Value m2 = m * 0.9 + grads[i] * 0.1, v2 = Abs(v) * 0.999 + grads[i] * grads[i] * 0.001;
    g->Assign(g->FindVariable(name + ".m"), m2);
    g->Assign(g->FindVariable(name + ".v"), v2);
    const int32_t index = g->producer(parameters[i].id).as<VariableAttrs>().index;
    g->Assign(index, parameters[i] - m2 * 0.01 / (Sqrt(v2) + 1e-3));
  }
}

inline Value CrossEntropy(Value logits, Value labels) { return -MeanAll(PickLast(LogSoftmax(logits, -1), labels)); }

}  // namespace strata
