// Optimizers: the update of one parameter as graph nodes, and the scalars of a step, which the host computes in double
// (bias corrections lose all their digits in float32).
//
//   STRATA_ASSIGN_OR_RETURN(OptimizerRule rule, MakeOptimizer(v1::PYTORCH, definition));
//   next = rule.update(w, g, slots, scalars);       // `slots` hold the next values afterwards
//   rule.scalars({.t = t, .learning_rate = rate})   // of update t = 1, 2, ...
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

// What the host knows of an update.
struct UpdateNumbers {
  int64_t t = 1;
  double learning_rate = 0;
  double momentum = 0;  // momentum or beta_1, where a schedule moves it
  int64_t samples = 0;  // rows whose gradients the update takes
  int turn = -1;        // the parameter's place in the definition's nadam_product; -1: it has none
};

// The slot of a moving average of the weights.
inline constexpr char kAverageSlot[] = "average";

struct OptimizerRule {
  struct Slot {
    std::string name;
    double start = 0;
    bool copies_weight = false;  // starts as the parameter is
  };
  // State of each parameter, of its shape.
  std::vector<Slot> slots;
  double learning_rate = 0;  // the definition's
  int num_scalars = 0;
  std::function<std::vector<double>(const UpdateNumbers& numbers)> scalars;
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
