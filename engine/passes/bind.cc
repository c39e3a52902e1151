#include "engine/base/status.h"
#include "engine/passes/passes.h"

namespace strata {

absl::StatusOr<Graph> BindVariables(const Graph& graph,
                                    const std::map<std::string, std::shared_ptr<const Tensor>>& values) {
  Graph out;
  std::vector<Value> map(graph.values().size());
  size_t next_input = 0;
  for (const Node& node : graph.nodes()) {
    if (node.op == Op::kInput) {
      const NamedValue& in = graph.inputs()[next_input++];
      map[in.value] = out.AddInput(in.name, graph.info(in.value).dtype, graph.info(in.value).shape);
      continue;
    }
    if (node.op == Op::kAssign) continue;
    std::vector<Value> in;
    for (ValueId v : node.inputs) in.push_back(map[v]);
    std::vector<ValueInfo> results;
    for (ValueId v : node.outputs) results.push_back({graph.info(v).dtype, graph.info(v).shape});
    std::vector<Value> outputs;
    if (node.op == Op::kVariable) {
      const std::string& name = graph.variables()[node.as<VariableAttrs>().index].name;
      const auto it = values.find(name);
      if (it == values.end()) return InvalidArgument("weights.", name, ": must be given, got nothing");
      if (it->second->shape() != results[0].shape || it->second->dtype() != results[0].dtype) {
        return InvalidArgument("weights.", name, ": must be ", DTypeName(results[0].dtype),
                               ShapeString(results[0].shape), ", got ", DTypeName(it->second->dtype()),
                               ShapeString(it->second->shape()));
      }
      outputs = out.AddNode(Op::kConstant, LiteralAttrs{it->second}, {}, std::move(results));
    } else {
      outputs = out.AddNode(node.op, node.attrs, in, std::move(results));
    }
    for (size_t i = 0; i < outputs.size(); ++i) map[node.outputs[i]] = outputs[i];
  }
  for (const NamedValue& o : graph.outputs()) out.MarkOutput(o.name, map[o.value]);
  return out;
}

}  // namespace strata
