// The gradient of scan: another scan, which runs the other way over a body that recomputes the step from the saved
// carried values and differentiates it. What takes time to compute again is saved too, unless memory is to be spared:
// products, and values of exp, tanh and their like.
#include <algorithm>

#include "engine/autodiff/gradients.h"
#include "engine/base/status.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata {
namespace {

// The inputs of another graph, added to this one.
std::vector<Value> AddInputsOf(const Graph& from, Graph* to) {
  std::vector<Value> inputs;
  for (const NamedValue& i : from.inputs()) {
    inputs.push_back(to->AddInput(i.name, from.info(i.value).dtype, from.info(i.value).shape));
  }
  return inputs;
}

bool IsTranscendental(Op op) {
  return op == Op::kExp || op == Op::kExpm1 || op == Op::kLog || op == Op::kLog1p || op == Op::kSigmoid ||
         op == Op::kTanh || op == Op::kErf || op == Op::kPow || op == Op::kSoftmax || op == Op::kLogSoftmax;
}

// What is worth saving if the gradient reads it: products that depend on carried values, with what is added to them at
// once (other products are the same for all steps together and leave the scan), and transcendental functions of what
// differs between steps.
std::vector<ValueId> CostlyValues(const Graph& body, int32_t num_carry, int32_t num_sequences) {
  std::vector<bool> carried(body.values().size(), false), varies(body.values().size(), false);
  std::vector<std::vector<const Node*>> readers(body.values().size());
  for (int32_t i = 0; i < num_carry + num_sequences; ++i) {
    carried[body.inputs()[i].value] = i < num_carry;
    varies[body.inputs()[i].value] = true;
  }
  for (const Node& node : body.nodes()) {
    for (ValueId v : node.inputs) {
      readers[v].push_back(&node);
      for (ValueId y : node.outputs) {
        carried[y] = carried[y] || carried[v];
        varies[y] = varies[y] || varies[v];
      }
    }
  }
  std::vector<ValueId> out;
  for (const Node& node : body.nodes()) {
    ValueId v = node.outputs.empty() ? -1 : node.outputs[0];
    if ((node.op == Op::kMatMul || node.op == Op::kConv) && carried[v]) {
      while (readers[v].size() == 1 && readers[v][0]->op == Op::kAdd &&
             body.info(readers[v][0]->outputs[0]).shape == body.info(v).shape) {
        v = readers[v][0]->outputs[0];
      }
    } else if (!IsTranscendental(node.op) || !varies[v]) {
      continue;
    }
    if (std::find(out.begin(), out.end(), v) == out.end()) out.push_back(v);
  }
  return out;
}

// Appends to the node's outputs the carried values before each step, then `values` of its body; returns them, stacked
// over time.
std::vector<Value> SaveValues(Graph* g, NodeId n, std::span<const ValueId> values) {
  ScanAttrs at = g->nodes()[n].as<ScanAttrs>();
  Graph body;
  std::vector<Value> map;
  const std::vector<Value> inputs = AddInputsOf(*at.body, &body);
  const std::vector<Value> outputs = Inline(*at.body, &body, inputs, &map);
  for (size_t i = 0; i < outputs.size(); ++i) body.MarkOutput(at.body->outputs()[i].name, outputs[i]);
  std::vector<Value> saved;
  const auto save = [&](Value v) {
    body.MarkOutput(absl::StrCat("saved", saved.size()), v);
    Shape shape = v.shape();
    shape.insert(shape.begin(), at.length);
    saved.push_back(g->AppendOutput(n, v.dtype(), std::move(shape)));
  };
  for (int32_t i = 0; i < at.num_carry; ++i) save(inputs[i]);
  for (ValueId v : values) save(map[v]);
  at.body = std::make_shared<const Graph>(std::move(body));
  g->mutable_node(n).attrs = std::move(at);
  return saved;
}

// `body` with the values `known` replaced by its inputs that begin at `first`. Those that nothing reads then are no
// inputs of the result: `used` says which ones are.
Graph ReplaceByInputs(const Graph& body, std::span<const Value> known, size_t first, std::vector<bool>* used) {
  std::vector<ValueId> place(body.values().size());
  for (size_t v = 0; v < place.size(); ++v) place[v] = static_cast<ValueId>(v);
  for (size_t i = 0; i < known.size(); ++i) place[known[i].id] = body.inputs()[first + i].value;
  std::vector<bool> read(body.values().size(), false);
  for (const NamedValue& o : body.outputs()) read[place[o.value]] = true;
  for (auto node = body.nodes().rbegin(); node != body.nodes().rend(); ++node) {
    const bool live = std::any_of(node->outputs.begin(), node->outputs.end(), [&](ValueId v) { return read[v]; });
    for (ValueId v : node->inputs) read[place[v]] = read[place[v]] || live;
  }
  Graph out;
  std::vector<Value> inputs, map(body.values().size());
  for (size_t i = 0; i < body.inputs().size(); ++i) {
    const NamedValue& input = body.inputs()[i];
    const bool candidate = i >= first && i < first + known.size();
    if (candidate) used->push_back(read[input.value]);
    if (candidate && !read[input.value]) {
      inputs.emplace_back();
      continue;
    }
    inputs.push_back(out.AddInput(input.name, body.info(input.value).dtype, body.info(input.value).shape));
    if (candidate) map[known[i - first].id] = inputs.back();
  }
  const std::vector<Value> outputs = Inline(body, &out, inputs, &map);
  for (size_t i = 0; i < outputs.size(); ++i) out.MarkOutput(body.outputs()[i].name, outputs[i]);
  return out;
}

}  // namespace

std::vector<Value> ScanVjp(Graph* g, NodeId n, std::span<const Value> dy) {
  const ScanAttrs at = g->nodes()[n].as<ScanAttrs>();
  const std::vector<ValueId> inputs = g->nodes()[n].inputs;
  const std::vector<ValueId> outputs = g->nodes()[n].outputs;
  const int32_t num_carry = at.num_carry, num_seq = at.num_sequences;
  const int32_t num_const = static_cast<int32_t>(inputs.size()) - num_carry - num_seq;
  const std::vector<ValueId> costly =
      at.recompute ? std::vector<ValueId>{} : CostlyValues(*at.body, num_carry, num_seq);

  // Body: carried d_carry and d_constant; sequences x, saved carry, saved values, dy; constants.
  Graph body;
  std::vector<Value> carry, sequences, constants;  // operands of the new scan
  std::vector<Value> d_carry, d_const, x, c, d_out, k;
  const auto in_like = [&](const char* name, ValueId v, bool sequence) {
    Shape shape = g->info(v).shape;
    if (sequence) shape.erase(shape.begin());
    return body.AddInput(name, g->info(v).dtype, std::move(shape));
  };
  const auto zeros = [&](ValueId v) { return Full(g, 0, g->info(v).shape, g->info(v).dtype); };
  for (int32_t i = 0; i < num_carry; ++i) {
    d_carry.push_back(in_like("d_carry", inputs[i], false));
    carry.push_back(dy[i] ? dy[i] : zeros(outputs[i]));
  }
  std::vector<int32_t> float_const;
  for (int32_t i = 0; i < num_const; ++i) {
    const ValueId v = inputs[num_carry + num_seq + i];
    if (!IsFloat(g->info(v).dtype)) continue;
    float_const.push_back(i);
    d_const.push_back(in_like("d_constant", v, false));
    carry.push_back(zeros(v));
  }
  for (int32_t i = 0; i < num_seq; ++i) {
    x.push_back(in_like("x", inputs[num_carry + i], true));
    sequences.push_back(g->value(inputs[num_carry + i]));
  }
  for (int32_t i = 0; i < num_carry; ++i) c.push_back(in_like("carry", inputs[i], false));
  const size_t first_costly = body.inputs().size();
  for (ValueId v : costly) body.AddInput("value", at.body->info(v).dtype, at.body->info(v).shape);
  const size_t first_saved = sequences.size();
  std::vector<int32_t> with_gradient;
  for (size_t i = num_carry; i < outputs.size(); ++i) {
    if (!dy[i] || !IsFloat(g->info(outputs[i]).dtype)) continue;
    with_gradient.push_back(static_cast<int32_t>(i));
    d_out.push_back(in_like("d_output", outputs[i], true));
    sequences.push_back(dy[i]);
  }
  for (int32_t i = 0; i < num_const; ++i) {
    k.push_back(in_like("constant", inputs[num_carry + num_seq + i], false));
    constants.push_back(g->value(inputs[num_carry + num_seq + i]));
  }

  std::vector<Value> step = c;
  step.insert(step.end(), x.begin(), x.end());
  step.insert(step.end(), k.begin(), k.end());
  std::vector<Value> map, known;
  const std::vector<Value> result = Inline(*at.body, &body, step, &map);
  for (ValueId v : costly) known.push_back(map[v]);
  std::vector<Value> cotangents(result.size());
  for (int32_t i = 0; i < num_carry; ++i) {
    if (IsFloat(result[i].dtype())) cotangents[i] = d_carry[i];
  }
  for (size_t i = 0; i < with_gradient.size(); ++i) cotangents[with_gradient[i]] = d_out[i];
  const std::vector<Value> grads = Gradients(result, cotangents, step);
  const auto or_zero = [&](Value v, Value like) { return v ? v : Full(&body, 0, like.shape(), like.dtype()); };
  for (int32_t i = 0; i < num_carry; ++i) body.MarkOutput("d_carry", or_zero(grads[i], c[i]));
  for (size_t i = 0; i < float_const.size(); ++i) {
    const Value dk = grads[num_carry + num_seq + float_const[i]];
    body.MarkOutput("d_constant", dk ? d_const[i] + dk : d_const[i]);
  }
  std::vector<bool> has_dx(num_seq, false);
  for (int32_t i = 0; i < num_seq; ++i) {
    if (!grads[num_carry + i]) continue;
    has_dx[i] = true;
    body.MarkOutput("d_x", grads[num_carry + i]);
  }
  if (!body.ok()) {
    g->Fail(body.status());
    return std::vector<Value>(inputs.size());
  }
  std::vector<bool> used;
  Graph step_back = ReplaceByInputs(body, known, first_costly, &used);
  std::vector<ValueId> values;
  for (size_t i = 0; i < costly.size(); ++i) {
    if (used[i]) values.push_back(costly[i]);
  }
  const std::vector<Value> saved = SaveValues(g, n, values);
  sequences.insert(sequences.begin() + static_cast<int64_t>(first_saved), saved.begin(), saved.end());
  const ScanResult back = Scan(g, std::move(step_back), carry, sequences, constants, !at.reverse, at.length);
  std::vector<Value> dx(inputs.size());
  if (!g->ok()) return dx;
  for (int32_t i = 0; i < num_carry; ++i) dx[i] = back.carry[i];
  for (size_t i = 0; i < float_const.size(); ++i) dx[num_carry + num_seq + float_const[i]] = back.carry[num_carry + i];
  size_t next = 0;
  for (int32_t i = 0; i < num_seq; ++i) {
    if (has_dx[i]) dx[num_carry + i] = back.sequences[next++];
  }
  return dx;
}

}  // namespace strata
