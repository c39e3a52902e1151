// Runs a cell over time with the engine's scan. Every recurrent layer is a cell and a call of this.
#pragma once

#include <functional>
#include <vector>

#include "engine/nn/scope.h"

namespace strata::nn {

struct Recurrence {
  // Time first: [T, N, ...]. What does not depend on the states is computed for all steps at once, outside.
  std::vector<Value> sequences;
  std::vector<Value> states;     // before the first step: [N, ...]
  std::vector<Value> constants;  // weights and masks that every step uses
  // Keras' mask [T, N], or empty: where it is false a step keeps the states and repeats the output before it (zeros at
  // first).
  Value mask;
  // From the last step to the first. Outputs stand at their own time all the same.
  bool reverse = false;
  size_t output_state = 0;  // which new state is the output too
  bool own_output = false;  // none is: the step returns its output after the new states
  // One step. Layers may be built in the scope that it gets: their parameters are captured. Values of one time, the
  // states, the constants; returns the new states. Runs in the scope of the loop's body.
  std::function<std::vector<Value>(Scope&, const std::vector<Value>& x, const std::vector<Value>& states,
                                   const std::vector<Value>& constants)>
      step;
};

struct RecurrenceResult {
  Value sequence;             // [T, N, H]
  Value last;                 // [N, H]: the output of the step that ran last
  std::vector<Value> states;  // after the step that ran last
};

RecurrenceResult RunRecurrence(Scope& s, const Recurrence& r);

// [N, T, ...] <-> [T, N, ...].
Value SwapBatchAndTime(Value x);

}  // namespace strata::nn
