// Builds the graph of a layer, model or loss case: inputs, the call, cotangents, gradients, state updates.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/nn/scope.h"
#include "tests/parity/case.h"
#include "tests/parity/result.h"
#include "tests/parity/run_graph.h"

namespace strata::parity {

// A case's graph while it is built.
class CaseGraph {
 public:
  explicit CaseGraph(const Case& c) : case_(c) {}
  CaseGraph(const CaseGraph&) = delete;

  // The graph input of `input.<name>`; fails the graph if the case has no such tensor.
  Value Input(const std::string& name);
  // A scope for the case's mode. Call once.
  nn::Scope MakeScope(bool training);
  Graph* graph() { return &graph_; }
  const nn::Collected& collected() const { return collected_; }

  // Marks the outputs, pulls their cotangents back to what the case lists in `grads`, and assigns the new states.
  void Finish(const std::vector<Value>& outputs);

 private:
  Value Wrt(const std::string& name) const;

  const Case& case_;
  Graph graph_;
  nn::Collected collected_;
  std::map<std::string, Value> inputs_;
};

// Runs a finished graph both ways and compares outputs, gradients and states with the case's.
void RunAndCompare(const Case& c, CaseGraph& built, Result* result);

// The parameters and states that the graph declares must be those that the case lists.
void CheckParameters(const Case& c, const nn::Collected& collected, Result* result);

// Feeds: `input.<name>` and `cotangent.<name>`; `param.<name>` or `state.<name>`.
Feed CaseInputs(const Case& c, const Tensor* random_state);
Feed CaseVariables(const Case& c);

// Seed and step of a random state.
Tensor RandomState(int64_t seed, int64_t step);
inline constexpr char kRandomState[] = "random state";

}  // namespace strata::parity
