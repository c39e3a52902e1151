#include <algorithm>

#include "engine/graph/graph.h"

#include "engine/base/status.h"

namespace strata {

const Shape& Value::shape() const {
  static const Shape kEmpty;
  return id >= 0 ? graph->info(id).shape : kEmpty;
}

DType Value::dtype() const { return id >= 0 ? graph->info(id).dtype : DType::kF32; }

int64_t Value::dim(int axis) const {
  const Shape& s = shape();
  const int i = axis < 0 ? axis + static_cast<int>(s.size()) : axis;
  return i >= 0 && i < static_cast<int>(s.size()) ? s[i] : 0;
}

std::vector<Value> Graph::AddNode(Op op, Attrs attrs, std::span<const Value> inputs, std::vector<ValueInfo> results) {
  const NodeId n = static_cast<NodeId>(nodes_.size());
  Node node{op, std::move(attrs), {}, {}};
  for (const Value& v : inputs) {
    STRATA_CHECK(v.graph == this && v.id >= 0);
    node.inputs.push_back(v.id);
  }
  std::vector<Value> out;
  for (size_t i = 0; i < results.size(); ++i) {
    results[i].node = n;
    results[i].output = static_cast<int32_t>(i);
    const ValueId id = static_cast<ValueId>(values_.size());
    values_.push_back(std::move(results[i]));
    node.outputs.push_back(id);
    out.push_back({this, id});
  }
  nodes_.push_back(std::move(node));
  return out;
}

Value Graph::AddInput(std::string name, DType dtype, Shape shape) {
  const Value v = AddNode(Op::kInput, NoAttrs{}, {}, {{dtype, std::move(shape)}})[0];
  inputs_.push_back({std::move(name), v.id});
  return v;
}

Value Graph::AddVariable(const VariableInfo& info) {
  if (const int32_t i = FindVariable(info.name); i >= 0) {
    if (variables_[i].shape != info.shape) {
      Fail(InvalidArgument(info.name, ": used with shape ", ShapeString(variables_[i].shape), " and with shape ",
                           ShapeString(info.shape)));
    }
    return {this, variables_[i].value};
  }
  const int32_t index = static_cast<int32_t>(variables_.size());
  const Value v = AddNode(Op::kVariable, VariableAttrs{index}, {}, {{info.dtype, info.shape}})[0];
  variables_.push_back(info);
  variables_.back().value = v.id;
  variable_of_name_[info.name] = index;
  return v;
}

void Graph::Assign(int32_t variable, Value value) {
  if (!ok() || !value) return;
  STRATA_CHECK(value.shape() == variables_[variable].shape && value.dtype() == variables_[variable].dtype);
  const Value in[] = {value};
  AddNode(Op::kAssign, VariableAttrs{variable}, in, {});
}

void Graph::MarkOutput(std::string name, Value value) {
  if (value) outputs_.push_back({std::move(name), value.id});
}

void Graph::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

void Graph::PrefixError(std::string_view prefix) {
  status_ = absl::Status(status_.code(), absl::StrCat(std::string(prefix), std::string(status_.message())));
}

void Graph::AppendError(std::string_view suffix) {
  status_ = absl::Status(status_.code(), absl::StrCat(std::string(status_.message()), std::string(suffix)));
}

int32_t Graph::FindVariable(std::string_view name) const {
  const auto it = variable_of_name_.find(absl::string_view(name.data(), name.size()));
  return it == variable_of_name_.end() ? -1 : it->second;
}

Value Graph::AppendOutput(NodeId node, DType dtype, Shape shape) {
  const ValueId id = static_cast<ValueId>(values_.size());
  values_.push_back({dtype, std::move(shape), node, static_cast<int32_t>(nodes_[node].outputs.size())});
  nodes_[node].outputs.push_back(id);
  return {this, id};
}

std::vector<Value> Inline(const Graph& body, Graph* graph, std::span<const Value> inputs, std::vector<Value>* values) {
  std::vector<Value> own;
  std::vector<Value>& map = values != nullptr ? *values : own;
  map.resize(body.values().size());
  STRATA_CHECK(inputs.size() == body.inputs().size());
  for (size_t i = 0; i < inputs.size(); ++i) map[body.inputs()[i].value] = inputs[i];
  for (const Node& node : body.nodes()) {
    if (node.op == Op::kInput) continue;
    STRATA_CHECK(node.op != Op::kVariable && node.op != Op::kAssign);
    if (std::all_of(node.outputs.begin(), node.outputs.end(), [&](ValueId v) { return map[v].id >= 0; })) continue;
    std::vector<Value> in;
    for (ValueId v : node.inputs) in.push_back(map[v]);
    std::vector<ValueInfo> results;
    for (ValueId v : node.outputs) results.push_back({body.info(v).dtype, body.info(v).shape});
    const std::vector<Value> out = graph->AddNode(node.op, node.attrs, in, std::move(results));
    for (size_t i = 0; i < out.size(); ++i) map[node.outputs[i]] = out[i];
  }
  std::vector<Value> out;
  for (const NamedValue& o : body.outputs()) out.push_back(map[o.value]);
  return out;
}

Graph Prune(const Graph& graph) {
  std::vector<bool> live(graph.nodes().size(), false);
  for (const NamedValue& o : graph.outputs()) live[graph.info(o.value).node] = true;
  for (size_t n = graph.nodes().size(); n-- > 0;) {
    const Node& node = graph.nodes()[n];
    bool fused_effect = false;
    if (const auto* fused = std::get_if<FusedAttrs>(&node.attrs)) {
      for (const auto& r : fused->results) fused_effect |= r.variable >= 0;
    }
    if (node.op == Op::kAssign || node.op == Op::kInput || node.op == Op::kVariable || fused_effect) live[n] = true;
    if (!live[n]) continue;
    for (ValueId v : node.inputs) live[graph.info(v).node] = true;
  }
  Graph out;
  std::vector<Value> map(graph.values().size());
  size_t next_input = 0;
  for (size_t n = 0; n < graph.nodes().size(); ++n) {
    if (!live[n]) continue;
    const Node& node = graph.nodes()[n];
    if (node.op == Op::kInput) {
      const NamedValue& in = graph.inputs()[next_input++];
      map[in.value] = out.AddInput(in.name, graph.info(in.value).dtype, graph.info(in.value).shape);
      continue;
    }
    if (node.op == Op::kDetach) {
      map[node.outputs[0]] = map[node.inputs[0]];
      continue;
    }
    if (node.op == Op::kVariable) {
      const VariableInfo& info = graph.variables()[node.as<VariableAttrs>().index];
      map[node.outputs[0]] = out.AddVariable(info);
      continue;
    }
    std::vector<Value> in;
    for (ValueId v : node.inputs) in.push_back(map[v]);
    std::vector<ValueInfo> results;
    for (ValueId v : node.outputs) results.push_back({graph.info(v).dtype, graph.info(v).shape});
    const std::vector<Value> values = out.AddNode(node.op, node.attrs, in, std::move(results));
    for (size_t i = 0; i < values.size(); ++i) map[node.outputs[i]] = values[i];
  }
  for (const NamedValue& o : graph.outputs()) out.MarkOutput(o.name, map[o.value]);
  return out;
}

}  // namespace strata
