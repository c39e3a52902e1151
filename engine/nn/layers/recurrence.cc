#include "engine/nn/layers/recurrence.h"

#include "absl/strings/str_cat.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Shape WithoutTime(Value v) { return Shape(v.shape().begin() + 1, v.shape().end()); }

// A mask of [N] against values of [N, ...].
Value Spread(Value mask, Value like) {
  Shape shape = mask.shape();
  shape.resize(like.rank(), 1);
  return Reshape(mask, shape);
}

}  // namespace

Value SwapBatchAndTime(Value x) { return SwapAxes(x, 0, 1); }

RecurrenceResult RunRecurrence(Scope& s, const Recurrence& r) {
  RecurrenceResult result{{s.graph(), -1}, {s.graph(), -1}, std::vector<Value>(r.states.size(), Value{s.graph(), -1})};
  if (!s.ok()) return result;
  const int64_t length = r.sequences[0].dim(0);
  Graph body;
  BodyCaptures captures;
  Scope inner = s.InBody(&body, &captures);
  std::vector<Value> states, x, constants;
  for (size_t i = 0; i < r.states.size(); ++i) {
    states.push_back(body.AddInput(absl::StrCat("state", i), r.states[i].dtype(), r.states[i].shape()));
  }
  Value previous;  // the output before this step, where a mask may repeat it
  if (r.mask) previous = body.AddInput("previous", r.states[r.output_state].dtype(), r.states[r.output_state].shape());
  for (const Value& v : r.sequences) x.push_back(body.AddInput("x", v.dtype(), WithoutTime(v)));
  Value mask;
  if (r.mask) mask = body.AddInput("mask", r.mask.dtype(), WithoutTime(r.mask));
  for (const Value& v : r.constants) constants.push_back(body.AddInput("constant", v.dtype(), v.shape()));

  std::vector<Value> next = r.step(inner, x, states, constants);
  if (!body.ok() || !next[0]) {
    s.graph()->Fail(body.status());
    return result;
  }
  Value output = next[r.output_state];
  if (r.mask) {
    output = Select(Spread(mask, output), output, previous);
    for (size_t i = 0; i < next.size(); ++i) next[i] = Select(Spread(mask, next[i]), next[i], states[i]);
  }
  for (const Value& v : next) body.MarkOutput("state", v);
  if (r.mask) body.MarkOutput("previous", output);
  body.MarkOutput("output", output);

  std::vector<Value> carry = r.states, sequences = r.sequences;
  if (r.mask) {
    carry.push_back(Full(s.graph(), 0, r.states[r.output_state].shape(), r.states[r.output_state].dtype()));
    sequences.push_back(r.mask);
  }
  std::vector<Value> outer = r.constants;
  outer.insert(outer.end(), captures.outer.begin(), captures.outer.end());
  const ScanResult scan = Scan(s.graph(), std::move(body), carry, sequences, outer, r.reverse, length);
  if (!s.ok()) return result;
  result.states.assign(scan.carry.begin(), scan.carry.begin() + static_cast<int64_t>(r.states.size()));
  result.last = r.mask ? scan.carry.back() : scan.carry[r.output_state];
  result.sequence = scan.sequences[0];
  return result;
}

}  // namespace strata::nn
