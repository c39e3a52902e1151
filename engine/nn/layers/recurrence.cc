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

// What a loop's body starts with.
struct Body {
  Graph graph;
  BodyCaptures captures;
  std::vector<Value> states, x, constants;
  Value previous;  // the output before this step, where a mask may repeat it
  Value mask;
  std::vector<Value> next;  // what the step returns

  // `previous_shape`: of the outputs; used with a mask.
  void Build(const Scope& s, const Recurrence& r, const Shape& previous_shape) {
    Scope inner = s.InBody(&graph, &captures);
    for (size_t i = 0; i < r.states.size(); ++i) {
      states.push_back(graph.AddInput(absl::StrCat("state", i), r.states[i].dtype(), r.states[i].shape()));
    }
    if (r.mask) previous = graph.AddInput("previous", r.states[0].dtype(), previous_shape);
    for (const Value& v : r.sequences) x.push_back(graph.AddInput("x", v.dtype(), WithoutTime(v)));
    if (r.mask) mask = graph.AddInput("mask", r.mask.dtype(), WithoutTime(r.mask));
    for (const Value& v : r.constants) constants.push_back(graph.AddInput("constant", v.dtype(), v.shape()));
    next = r.step(inner, x, states, constants);
  }
};

// The shape of a step's output. One that is no state is known only after the step has been built.
Shape OutputShape(const Scope& s, const Recurrence& r) {
  if (!r.own_output) return r.states[r.output_state].shape();
  if (!r.mask) return {};
  Body trial;
  trial.Build(s, r, {});
  return trial.graph.ok() && trial.next.back() ? trial.next.back().shape() : Shape{};
}

}  // namespace

Value SwapBatchAndTime(Value x) { return SwapAxes(x, 0, 1); }

RecurrenceResult RunRecurrence(Scope& s, const Recurrence& r) {
  RecurrenceResult result{{s.graph(), -1}, {s.graph(), -1}, std::vector<Value>(r.states.size(), Value{s.graph(), -1})};
  if (!s.ok()) return result;
  const int64_t length = r.sequences[0].dim(0);
  const Shape output_shape = OutputShape(s, r);
  Body body;
  body.Build(s, r, output_shape);
  std::vector<Value> next = body.next;
  if (!body.graph.ok() || !next[0]) {
    s.graph()->Fail(body.graph.status());
    return result;
  }
  Value output = r.own_output ? next.back() : next[r.output_state];
  if (r.own_output) next.pop_back();
  if (r.mask) {
    output = Select(Spread(body.mask, output), output, body.previous);
    for (size_t i = 0; i < next.size(); ++i) next[i] = Select(Spread(body.mask, next[i]), next[i], body.states[i]);
  }
  for (const Value& v : next) body.graph.MarkOutput("state", v);
  if (r.mask) body.graph.MarkOutput("previous", output);
  body.graph.MarkOutput("output", output);

  std::vector<Value> carry = r.states, sequences = r.sequences;
  if (r.mask) {
    carry.push_back(Full(s.graph(), 0, output_shape, r.states[0].dtype()));
    sequences.push_back(r.mask);
  }
  std::vector<Value> outer = r.constants;
  outer.insert(outer.end(), body.captures.outer.begin(), body.captures.outer.end());
  const ScanResult scan = Scan(s.graph(), std::move(body.graph), carry, sequences, outer, r.reverse, length);
  if (!s.ok()) return result;
  result.states.assign(scan.carry.begin(), scan.carry.begin() + static_cast<int64_t>(r.states.size()));
  result.sequence = scan.sequences[0];
  if (r.mask) {
    result.last = scan.carry.back();
  } else if (r.own_output) {
    result.last = Squeeze(SliceAxis(result.sequence, 0, r.reverse ? 0 : length - 1, 1), 0);
  } else {
    result.last = scan.carry[r.output_state];
  }
  return result;
}

}  // namespace strata::nn
