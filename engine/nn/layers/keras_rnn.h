// tf.keras' recurrent layers: one layer, one direction, with the flags return_sequences, return_state, go_backwards,
// stateful and time_major, masks, and dropout masks that all steps share.
#pragma once

#include <functional>
#include <vector>

#include "engine/nn/component.h"
#include "engine/nn/layers/dropout.h"
#include "engine/nn/layers/recurrence.h"
#include "engine/ops/ops.h"

namespace strata::nn {

// `cell(body scope, projected input [N, gates * units], states, constants)`: constants are the recurrent kernel, then
// the mask of the recurrent dropout where there is one.
using KerasCell = std::function<std::vector<Value>(Scope&, Value x, const std::vector<Value>& states,
                                                   const std::vector<Value>& constants)>;

// Arguments: input, then initial states; `mask` by name. M is Lstm or SimpleRnn. Outputs: the output, then, with
// return_state, the final states.
template <typename M>
Outputs BuildKerasRnn(Scope& s, const M& a, const Args& args, int64_t gates, int num_states, ParamOptions bias,
                      const KerasCell& cell);

// The parts of it that do not depend on M.
struct KerasRnnFlags {
  bool return_sequences, return_state, go_backwards, stateful, time_major;
};
Outputs FinishKerasRnn(Scope& s, const KerasRnnFlags& flags, Recurrence r, const Args& args);
// States from the arguments, from the layer's own state, or zeros.
std::vector<Value> KerasStates(Scope& s, const Args& args, bool stateful, int num_states, int64_t batch, int64_t units);

template <typename M>
Outputs BuildKerasRnn(Scope& s, const M& a, const Args& args, int64_t gates, int num_states, ParamOptions bias,
                      const KerasCell& cell) {
  Value x = args[0];
  if (x.rank() != 3) {
    return {s.Fail(absl::StrCat("input: must have 3 axes, got ", ShapeString(x.shape())))};
  }
  if (!a.time_major()) x = SwapBatchAndTime(x);
  if (a.time_major()) s.MixRows();
  const int64_t batch = x.dim(1), width = x.dim(2), units = a.units();
  const Value kernel = s.Param("kernel", {width, gates * units},
                               {.initializer = a.kernel_initializer(),
                                .regularizer = a.has_kernel_regularizer() ? &a.kernel_regularizer() : nullptr,
                                .constraint = a.has_kernel_constraint() ? &a.kernel_constraint() : nullptr});
  const Value recurrent = s.Param("recurrent_kernel", {units, gates * units},
                                  {.initializer = a.recurrent_initializer(),
                                   .regularizer = a.has_recurrent_regularizer() ? &a.recurrent_regularizer() : nullptr,
                                   .constraint = a.has_recurrent_constraint() ? &a.recurrent_constraint() : nullptr});
  // One mask for the inputs of all steps.
  if (s.training()) x = DropWith(s, x, a.dropout(), {1, batch, width}, "dropout");
  Value projected = MatMul(x, kernel);
  if (a.use_bias()) projected = projected + s.Param("bias", {gates * units}, std::move(bias));
  Recurrence r;
  r.sequences = {projected};
  r.states = KerasStates(s, args, a.stateful(), num_states, batch, units);
  r.constants = {recurrent};
  if (s.training() && a.recurrent_dropout() > 0) {
    r.constants.push_back(
        DropWith(s, Full(s.graph(), 1, {batch, units}), a.recurrent_dropout(), {batch, units}, "recurrent_dropout"));
  }
  r.reverse = a.go_backwards();
  r.mask = args.Named("mask").value ? args.Named("mask").value : args[0].mask;
  if (r.mask && !a.time_major()) r.mask = SwapBatchAndTime(r.mask);
  r.step = [&cell](Scope& body, const std::vector<Value>& x, const std::vector<Value>& states,
                   const std::vector<Value>& constants) {
    std::vector<Value> dropped = states;
    if (constants.size() > 1) dropped[0] = states[0] * constants[1];
    return cell(body, x[0] + MatMul(dropped[0], constants[0]), states, constants);
  };
  if (!s.ok()) return {Value{s.graph(), -1}};
  Outputs out = FinishKerasRnn(
      s, {a.return_sequences(), a.return_state(), a.go_backwards(), a.stateful(), a.time_major()}, std::move(r), args);
  s.PenalizeActivity(a.has_activity_regularizer(), a.activity_regularizer(), out[0]);
  return out;
}

}  // namespace strata::nn
