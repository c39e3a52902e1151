// torch.nn's recurrent layers: several layers and directions in one component, with the parameters weight_ih_l0,
// weight_hh_l0_reverse, and so on.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/nn/component.h"
#include "engine/nn/layers/recurrence.h"

namespace strata::nn {

struct StackedRnn {
  int64_t hidden = 0, output = 0;  // width of the cell and of what it puts out (smaller with a projection)
  int64_t num_layers = 1;
  int64_t gates = 1;  // rows of the weights are gates * hidden
  int64_t num_states = 1;
  bool use_bias = true, bidirectional = false, batch_first = false;
  double dropout = 0;
  int64_t input_size = 0;  // checked when not 0
  // One step from the gates' sum over input and state, and the states.
  // constants: none, or the projection [output, hidden].
  std::function<std::vector<Value>(Scope&, Value gates, const std::vector<Value>& states,
                                   const std::vector<Value>& constants)>
      cell;
  // In place of `cell`, where input and state do not simply add up: both projections, each with its own bias.
  std::function<std::vector<Value>(Scope&, Value x, Value h, const std::vector<Value>& states)> separate;
};

// Arguments: input, then one initial state [layers * directions, N, width] for each of the cell's (zeros where left
// out). Outputs: the sequence, then the final states in that layout. A sequence without a batch axis is allowed.
Outputs BuildStackedRnn(Scope& s, const StackedRnn& rnn, const Args& args);

}  // namespace strata::nn
