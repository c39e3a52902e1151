// tf.keras' recurrent layers: one layer, one direction, with the flags return_sequences, return_state, go_backwards,
// stateful and time_major, masks, and dropout masks that all steps share.
#pragma once

#include <functional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/dropout.h"
#include "engine/nn/layers/recurrence.h"
#include "engine/ops/ops.h"

namespace strata::nn {

struct KerasRnn {
  int64_t gates = 1;
  int num_states = 1;
  ParamOptions bias;
  bool two_biases = false;  // [2, gates * units]: the second row belongs to the recurrent product, constants[1]
  // False: `cell` gets the gates' sum over input and state. True: it gets the projected input, and multiplies the state
  // itself.
  bool raw = false;
  // One step. states[0] has the recurrent dropout's mask applied where `cell` multiplies it itself. constants: the
  // recurrent kernel, the recurrent bias where there is one.
  std::function<std::vector<Value>(Scope&, Value x, const std::vector<Value>& states,
                                   const std::vector<Value>& constants)>
      cell;
};

struct KerasRnnFlags {
  bool return_sequences, return_state, go_backwards, stateful, time_major, zero_output_for_mask = false;
};

// Runs `r` over sequences that are time first, and shapes its outputs as the flags say. The mask comes from the
// arguments.
Outputs FinishKerasRnn(Scope& s, const KerasRnnFlags& flags, Recurrence r, const Args& args);
// States from the arguments, from the layer's own state, or zeros; one shape for each.
std::vector<Value> KerasStates(Scope& s, const Args& args, bool stateful, const std::vector<Shape>& shapes);

// Arguments: input, then initial states; `mask` by name. M is Lstm, Gru or SimpleRnn. Outputs: the output, then, with
// return_state, the final states.
template <typename M>
Outputs BuildKerasRnn(Scope& s, const M& a, const Args& args, const KerasRnn& rnn) {
  Value x = args[0];
  if (x.rank() != 3) return {s.Fail(absl::StrCat("input: must have 3 axes, got ", ShapeString(x.shape())))};
  if (!a.time_major()) x = SwapBatchAndTime(x);
  if (a.time_major()) s.MixRows();
  const int64_t batch = x.dim(1), width = x.dim(2), units = a.units();
  const Value kernel = s.Param("kernel", {width, rnn.gates * units},
                               {.initializer = a.kernel_initializer(),
                                .regularizer = a.has_kernel_regularizer() ? &a.kernel_regularizer() : nullptr,
                                .constraint = a.has_kernel_constraint() ? &a.kernel_constraint() : nullptr});
  const Value recurrent = s.Param("recurrent_kernel", {units, rnn.gates * units},
                                  {.initializer = a.recurrent_initializer(),
                                   .regularizer = a.has_recurrent_regularizer() ? &a.recurrent_regularizer() : nullptr,
                                   .constraint = a.has_recurrent_constraint() ? &a.recurrent_constraint() : nullptr});
  // One mask for the inputs of all steps.
  if (s.training()) x = DropWith(s, x, a.dropout(), {1, batch, width}, "dropout");
  Recurrence r;
  Value projected = MatMul(x, kernel), recurrent_bias;
  if (a.use_bias()) {
    const Shape shape = rnn.two_biases ? Shape{2, rnn.gates * units} : Shape{rnn.gates * units};
    const Value bias = s.Param("bias", shape, rnn.bias);
    projected = projected + (rnn.two_biases ? Squeeze(SliceAxis(bias, 0, 0, 1), 0) : bias);
    if (rnn.two_biases) recurrent_bias = Squeeze(SliceAxis(bias, 0, 1, 1), 0);
  }
  r.sequences = {projected};
  r.states = KerasStates(s, args, a.stateful(), std::vector<Shape>(rnn.num_states, Shape{batch, units}));
  r.constants = {recurrent};
  if (recurrent_bias) r.constants.push_back(recurrent_bias);
  Value dropped;
  if (s.training() && a.recurrent_dropout() > 0) {
    dropped =
        DropWith(s, Full(s.graph(), 1, {batch, units}), a.recurrent_dropout(), {batch, units}, "recurrent_dropout");
    r.constants.push_back(dropped);
  }
  r.reverse = a.go_backwards();
  r.step = [&rnn, &dropped](Scope& body, const std::vector<Value>& x, std::vector<Value> states,
                            std::vector<Value> constants) {
    const std::vector<Value> before = states;
    if (dropped) {
      states[0] = states[0] * constants.back();
      constants.pop_back();
    }
    if (rnn.raw) return rnn.cell(body, x[0], states, constants);
    return rnn.cell(body, x[0] + MatMul(states[0], constants[0]), before, constants);
  };
  if (!s.ok()) return {Value{s.graph(), -1}};
  return FinishKerasRnn(s,
                        {a.return_sequences(), a.return_state(), a.go_backwards(), a.stateful(), a.time_major(),
                         a.zero_output_for_mask()},
                        std::move(r), args);
}

}  // namespace strata::nn
