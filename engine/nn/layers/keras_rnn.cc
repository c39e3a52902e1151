#include "engine/nn/layers/keras_rnn.h"

#include "absl/strings/str_cat.h"

namespace strata::nn {

std::vector<Value> KerasStates(Scope& s, const Args& args, bool stateful, int num_states, int64_t batch,
                               int64_t units) {
  std::vector<Value> states;
  const Shape shape{batch, units};
  for (int i = 0; i < num_states; ++i) {
    if (static_cast<int>(args.size()) > i + 1) {
      states.push_back(args[i + 1]);
      if (states.back().shape() != shape) {
        s.Fail(absl::StrCat("initial_state: state ", i, " must have shape ", ShapeString(shape), ", got ",
                            ShapeString(states.back().shape())));
      }
    } else {
      states.push_back(stateful ? s.State(absl::StrCat("states.", i), shape, 0) : Full(s.graph(), 0, shape));
    }
  }
  return states;
}

Outputs FinishKerasRnn(Scope& s, const KerasRnnFlags& flags, Recurrence r, const Args& args) {
  const std::vector<Value> before = r.states;
  const RecurrenceResult result = RunRecurrence(s, r);
  Annotated output = result.last;
  if (flags.return_sequences) {
    // In reading order: backwards, the last time comes first.
    Value sequence = flags.go_backwards ? Reverse(result.sequence, {0}) : result.sequence;
    output = flags.time_major ? sequence : SwapBatchAndTime(sequence);
    output.mask = args.Named("mask").value ? args.Named("mask").value : args[0].mask;
  }
  Outputs out{output};
  if (flags.return_state) {
    for (const Value& v : result.states) out.push_back(v);
  }
  if (flags.stateful && args.size() == 1) {
    for (size_t i = 0; i < before.size(); ++i) s.SetState(before[i], result.states[i]);
  }
  return out;
}

}  // namespace strata::nn
