// Optimizers: the update of one parameter as graph nodes, and the scalars of a step, which the host computes in double
// (bias corrections lose all their digits in float32).
//
//   STRATA_ASSIGN_OR_RETURN(OptimizerRule rule, MakeOptimizer(v1::PYTORCH, definition));
//   next = rule.update(w, g, slots, scalars);       // `slots` hold the next values afterwards
//   rule.scalars(t, learning_rate)                  // of step t = 1, 2, ...
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/graph/graph.h"
#include "strata/v1/optimizers.pb.h"
#include "strata/v1/schema.pb.h"

namespace strata::nn {

struct OptimizerRule {
  struct Slot {
    std::string name;
    double start = 0;
  };
  // State of each parameter, of its shape.
  std::vector<Slot> slots;
  double learning_rate = 0;  // the definition's
  int num_scalars = 0;
  std::function<std::vector<double>(int64_t t, double learning_rate)> scalars;
  std::function<Value(Value w, Value g, std::span<Value> slots, std::span<const Value> scalars)> update;
};

// The rule of a complete definition (every default filled in), for a parameter that decays (`decay`) or does not.
absl::StatusOr<OptimizerRule> MakeOptimizer(v1::Dialect dialect, const v1::Optimizer& optimizer, bool decay);

// True if `name` contains one of the patterns.
bool Matches(const std::string& name, const google::protobuf::RepeatedPtrField<std::string>& patterns);

struct Clipped {
  std::vector<Value> gradients;
  Value norm;  // of all gradients before clipping: the norm that a global clipping bounds, otherwise the 2-norm
};
// Applies the clipping to gradients of several parameters at once.
Clipped Clip(v1::Dialect dialect, const v1::Clipping& clipping, const std::vector<Value>& gradients);

}  // namespace strata::nn
