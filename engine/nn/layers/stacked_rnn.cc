#include "engine/nn/layers/stacked_rnn.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/layers/dropout.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// One layer in one direction over x [T, N, D].
RecurrenceResult RunDirection(Scope& s, const StackedRnn& rnn, Value x, std::vector<Value> states,
                              const std::string& suffix, bool reverse) {
  const v1::Initializer init = Uniform(1 / std::sqrt(static_cast<double>(rnn.hidden)));
  const int64_t rows = rnn.gates * rnn.hidden;
  const auto param = [&](const char* name, Shape shape) {
    return s.Param(name + suffix, std::move(shape), {.initializer = init});
  };
  const Value w_ih = param("weight_ih", {rows, x.dim(-1)});
  const Value w_hh = param("weight_hh", {rows, rnn.output});
  Value projected = MatMul(x, w_ih, false, true), bias_hh;
  if (rnn.use_bias) {
    const Value b_ih = param("bias_ih", {rows});
    bias_hh = param("bias_hh", {rows});
    projected = projected + (rnn.separate ? b_ih : b_ih + bias_hh);
  }
  Recurrence r{.sequences = {projected}, .states = std::move(states), .constants = {w_hh}, .reverse = reverse};
  if (rnn.separate) {
    if (bias_hh) r.constants.push_back(bias_hh);
    r.step = [&rnn](Scope& body, const std::vector<Value>& x, const std::vector<Value>& states,
                    const std::vector<Value>& constants) {
      Value h = MatMul(states[0], constants[0], false, true);
      if (constants.size() > 1) h = h + constants[1];
      return rnn.separate(body, x[0], h, states);
    };
    return RunRecurrence(s, r);
  }
  if (rnn.output != rnn.hidden) r.constants.push_back(param("weight_hr", {rnn.output, rnn.hidden}));
  r.step = [&rnn](Scope& body, const std::vector<Value>& x, const std::vector<Value>& states,
                  const std::vector<Value>& constants) {
    const Value gates = x[0] + MatMul(states[0], constants[0], false, true);
    return rnn.cell(body, gates, states, {constants.begin() + 1, constants.end()});
  };
  return RunRecurrence(s, r);
}

bool CheckStates(Scope& s, const StackedRnn& rnn, const Args& args, int64_t directions, bool unbatched, int64_t batch) {
  for (size_t i = 1; i < args.size(); ++i) {
    Shape want{rnn.num_layers * directions, batch, i == 1 ? rnn.output : rnn.hidden};
    if (unbatched) want.erase(want.begin() + 1);
    if (args[i].value.shape() == want) continue;
    s.Fail(absl::StrCat("hx: state ", i - 1, " must have shape ", ShapeString(want), ", got ",
                        ShapeString(args[i].value.shape())));
    return false;
  }
  return true;
}

}  // namespace

Outputs BuildStackedRnn(Scope& s, const StackedRnn& rnn, const Args& args) {
  Outputs out(1 + rnn.num_states, Value{s.graph(), -1});
  Value x = args[0];
  const bool unbatched = x.rank() == 2;
  if (!unbatched && x.rank() != 3) {
    s.Fail(absl::StrCat("input: must have 2 or 3 axes, got ", ShapeString(x.shape())));
    return out;
  }
  if (rnn.input_size != 0 && x.dim(-1) != rnn.input_size) {
    s.Fail(absl::StrCat("input_size|input: must equal the input's last axis, ", rnn.input_size, ", got ",
                        ShapeString(x.shape())));
    return out;
  }
  if (unbatched) x = ExpandDims(x, 1);
  if (!unbatched && rnn.batch_first) x = SwapBatchAndTime(x);
  if (unbatched || !rnn.batch_first) s.MixRows();  // axis 0 is time
  const int64_t batch = x.dim(1), directions = rnn.bidirectional ? 2 : 1;
  if (x.dim(0) == 0) {
    s.Fail("input: must have at least one step, got 0");
    return out;
  }
  if (!CheckStates(s, rnn, args, directions, unbatched, batch)) return out;

  std::vector<std::vector<Value>> finals(rnn.num_states);
  for (int64_t layer = 0; layer < rnn.num_layers; ++layer) {
    std::vector<Value> sequences;
    for (int64_t direction = 0; direction < directions; ++direction) {
      const int64_t index = layer * directions + direction;
      std::vector<Value> states;
      for (int64_t k = 0; k < rnn.num_states; ++k) {
        const int64_t width = k == 0 ? rnn.output : rnn.hidden;
        states.push_back(static_cast<int64_t>(args.size()) > k + 1
                             ? Reshape(SliceAxis(args[k + 1], 0, index, 1), {batch, width})
                             : Full(s.graph(), 0, {batch, width}));
      }
      const std::string suffix = absl::StrCat("_l", layer, direction == 1 ? "_reverse" : "");
      const RecurrenceResult r = RunDirection(s, rnn, x, std::move(states), suffix, direction == 1);
      if (!s.ok()) return out;
      sequences.push_back(r.sequence);
      for (int64_t k = 0; k < rnn.num_states; ++k) finals[k].push_back(r.states[k]);
    }
    x = Concat(sequences, -1);
    if (s.training() && layer + 1 < rnn.num_layers)
      x = DropWith(s, x, rnn.dropout, x.shape(), absl::StrCat("dropout", layer));
  }
  if (unbatched) x = Squeeze(x, 1);
  out[0] = !unbatched && rnn.batch_first ? SwapBatchAndTime(x) : x;
  for (int64_t k = 0; k < rnn.num_states; ++k) {
    const Value stacked = Stack(finals[k], 0);
    out[k + 1] = unbatched ? Squeeze(stacked, 1) : stacked;
  }
  return out;
}

}  // namespace strata::nn
