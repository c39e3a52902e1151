// The gradient of scan: another scan, which runs the other way over a body that recomputes the step from the saved
// carried values and differentiates it. Products of carried values are saved too: everything else of a step is cheap.
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

// What a step is not to compute again: products that depend on carried values, with what is added to them at once.
// (Other products are the same for all steps together and leave the scan.)
std::vector<ValueId> Products(const Graph& body, int32_t num_carry) {
  std::vector<bool> carried(body.values().size(), false);
  std::vector<std::vector<const Node*>> readers(body.values().size());
  for (int32_t i = 0; i < num_carry; ++i) carried[body.inputs()[i].value] = true;
  for (const Node& node : body.nodes()) {
    bool any = false;
    for (ValueId v : node.inputs) {
      any |= carried[v];
      readers[v].push_back(&node);
    }
    for (ValueId v : node.outputs) carried[v] = carried[v] || any;
  }
  std::vector<ValueId> out;
  for (const Node& node : body.nodes()) {
    if ((node.op != Op::kMatMul && node.op != Op::kConv) || !carried[node.outputs[0]]) continue;
    ValueId v = node.outputs[0];
    while (readers[v].size() == 1 && readers[v][0]->op == Op::kAdd &&
           body.info(readers[v][0]->outputs[0]).shape == body.info(v).shape) {
      v = readers[v][0]->outputs[0];
    }
    if (std::find(out.begin(), out.end(), v) == out.end()) out.push_back(v);
  }
  return out;
}

// Appends to the node's outputs the carried values before each step, then `products` of its body; returns them, stacked
// over time.
std::vector<Value> SaveValues(Graph* g, NodeId n, std::span<const ValueId> products) {
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
  for (ValueId v : products) save(map[v]);
  at.body = std::make_shared<const Graph>(std::move(body));
  g->mutable_node(n).attrs = std::move(at);
  return saved;
}

// `body` with the values `known` replaced by its inputs that begin at `first`.
Graph ReplaceByInputs(const Graph& body, std::span<const Value> known, size_t first) {
  Graph out;
  std::vector<Value> map(body.values().size());
  const std::vector<Value> inputs = AddInputsOf(body, &out);
  for (size_t i = 0; i < known.size(); ++i) map[known[i].id] = inputs[first + i];
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
  const std::vector<ValueId> products = Products(*at.body, num_carry);
  const std::vector<Value> saved = SaveValues(g, n, products);

  // Body: carried d_carry and d_constant; sequences x, saved carry, saved products, dy; constants.
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
  for (int32_t i = 0; i < num_carry; ++i) {
    c.push_back(in_like("carry", saved[i].id, true));
    sequences.push_back(saved[i]);
  }
  const size_t first_product = body.inputs().size();
  for (size_t i = num_carry; i < saved.size(); ++i) {
    in_like("product", saved[i].id, true);
    sequences.push_back(saved[i]);
  }
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
  for (ValueId v : products) known.push_back(map[v]);
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
  const ScanResult back =
      Scan(g, ReplaceByInputs(body, known, first_product), carry, sequences, constants, !at.reverse, at.length);
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
