#include "engine/ops/reference.h"

#include "engine/base/status.h"

namespace strata {

RefTensor ToRef(const TensorView& t) {
  const Tensor d = Cast(t, DType::kF64);
  return {t.shape, std::vector<double>(d.data<double>(), d.data<double>() + d.num_elements())};
}

Tensor FromRef(const RefTensor& t, DType dtype) {
  Tensor out(dtype, t.shape);
  for (size_t i = 0; i < t.data.size(); ++i) out.Set(static_cast<int64_t>(i), t.data[i]);
  return out;
}

std::vector<RefTensor> EvaluateReference(const Graph& graph, std::span<const RefTensor> inputs) {
  return RunReference(graph, inputs, nullptr);
}

std::vector<RefTensor> RunReference(const Graph& graph, std::span<const RefTensor> inputs,
                                    std::vector<RefTensor>* variables,
                                    bool (*commit)(const std::vector<RefTensor>& outputs)) {
  std::vector<RefTensor> values(graph.values().size());
  size_t next_input = 0;
  std::vector<std::pair<int32_t, ValueId>> assignments;
  for (const Node& node : graph.nodes()) {
    if (node.op == Op::kInput) {
      values[node.outputs[0]] = inputs[next_input++];
      continue;
    }
    if (node.op == Op::kVariable) {
      values[node.outputs[0]] = (*variables)[node.as<VariableAttrs>().index];
      continue;
    }
    if (node.op == Op::kAssign) {
      assignments.push_back({node.as<VariableAttrs>().index, node.inputs[0]});
      continue;
    }
    std::vector<const RefTensor*> in;
    for (ValueId v : node.inputs) in.push_back(&values[v]);
    std::vector<RefTensor> out;
    std::vector<DType> types;
    for (ValueId v : node.outputs) {
      const ValueInfo& info = graph.info(v);
      out.push_back({info.shape, std::vector<double>(NumElements(info.shape), 0.0)});
      types.push_back(info.dtype);
    }
    RecordOf(node.op).reference(node.attrs, in, out, types);
    for (size_t i = 0; i < out.size(); ++i) values[node.outputs[i]] = std::move(out[i]);
  }
  std::vector<RefTensor> outputs;
  for (const NamedValue& o : graph.outputs()) outputs.push_back(values[o.value]);
  if (commit == nullptr || commit(outputs)) {
    for (const auto& [variable, value] : assignments) (*variables)[variable] = values[value];
  }
  return outputs;
}

}  // namespace strata
