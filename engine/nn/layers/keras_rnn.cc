#include "engine/nn/layers/keras_rnn.h"

#include "engine/base/checkpoint_names.h"

namespace strata::nn {

std::vector<Value> KerasStates(Scope& s, const Args& args, bool stateful, const std::vector<Shape>& shapes) {
  std::vector<Value> states;
  for (size_t i = 0; i < shapes.size(); ++i) {
    if (args.size() > i + 1) {
      states.push_back(args[i + 1]);
      if (states.back().shape() != shapes[i]) {
        s.Fail(absl::StrCat("initial_state: state ", i, " must have shape ", ShapeString(shapes[i]), ", got ",
                            ShapeString(states.back().shape())));
      }
    } else {
      states.push_back(stateful ? s.State(absl::StrCat(checkpoint::kRecurrentState, i), shapes[i], 0)
                                : Full(s.graph(), 0, shapes[i]));
    }
  }
  return states;
}

namespace {

// Zeros where `mask`, which lacks the last axes of `v`, is false.
Value ZeroOutside(Value mask, Value v) {
  Shape shape = mask.shape();
  shape.resize(v.rank(), 1);
  return Select(Reshape(mask, shape), v, Like(v, 0));
}

}  // namespace

Outputs FinishKerasRnn(Scope& s, const KerasRnnFlags& flags, Recurrence r, const Args& args) {
  const Value mask = args[0].mask;
  r.mask = mask && !flags.time_major ? SwapBatchAndTime(mask) : mask;
  r.reverse = flags.go_backwards;
  const std::vector<Value> before = r.states;
  RecurrenceResult result = RunRecurrence(s, r);
  if (r.mask && flags.zero_output_for_mask && s.ok()) {
    const int64_t end = flags.go_backwards ? 0 : r.mask.dim(0) - 1;
    result.sequence = ZeroOutside(r.mask, result.sequence);
    result.last = ZeroOutside(Squeeze(SliceAxis(r.mask, 0, end, 1), 0), result.last);
  }
  Annotated output = result.last;
  if (flags.return_sequences) {
    // In reading order: backwards, the last time comes first.
    const Value sequence = flags.go_backwards ? Reverse(result.sequence, {0}) : result.sequence;
    output = flags.time_major ? sequence : SwapBatchAndTime(sequence);
    output.mask = mask;
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
