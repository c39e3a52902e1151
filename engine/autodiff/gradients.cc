#include "engine/autodiff/gradients.h"

#include "engine/base/status.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata {
namespace {

// Nodes whose result depends on one of `wrt`: only they need a gradient.
std::vector<bool> DependsOn(const Graph& g, std::span<const Value> wrt) {
  std::vector<bool> depends(g.values().size(), false);
  for (const Value& v : wrt) {
    if (v) depends[v.id] = true;
  }
  for (const Node& node : g.nodes()) {
    bool any = false;
    for (ValueId v : node.inputs) any |= depends[v];
    if (!any) continue;
    for (ValueId v : node.outputs) depends[v] = true;
  }
  return depends;
}

}  // namespace

std::vector<Value> Gradients(std::span<const Value> outputs, std::span<const Value> cotangents,
                             std::span<const Value> wrt) {
  Graph* g = nullptr;
  for (const Value& v : outputs) g = v.graph;
  std::vector<Value> result(wrt.size());
  if (g == nullptr || !g->ok()) return result;

  const std::vector<bool> depends = DependsOn(*g, wrt);
  std::vector<Value> grad(g->values().size());
  const auto accumulate = [&](ValueId v, Value dv) {
    if (!dv || v >= static_cast<ValueId>(grad.size())) return;
    grad[v] = grad[v] ? grad[v] + dv : dv;
  };
  NodeId last = -1;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i] || !cotangents[i] || !depends[outputs[i].id]) continue;
    accumulate(outputs[i].id, cotangents[i]);
    last = std::max(last, g->info(outputs[i].id).node);
  }
  for (NodeId n = last; n >= 0 && g->ok(); --n) {
    const Node& node = g->nodes()[n];
    std::vector<Value> dy(node.outputs.size());
    bool any = false;
    for (size_t i = 0; i < dy.size(); ++i) {
      const ValueId v = node.outputs[i];
      if (v < static_cast<ValueId>(grad.size())) dy[i] = grad[v];
      any |= static_cast<bool>(dy[i]);
    }
    if (!any || !depends[node.outputs[0]]) continue;
    const VjpFn vjp = RecordOf(node.op).vjp;
    if (vjp == nullptr) continue;
    const std::vector<ValueId> inputs = node.inputs;  // the rule adds nodes, which may move `node`
    // Rules with one output take dy[0] as given; those with several handle empty entries themselves.
    const std::vector<Value> dx = vjp(g, n, dy);
    for (size_t i = 0; i < dx.size() && i < inputs.size(); ++i) {
      if (depends[inputs[i]] && IsFloat(g->info(inputs[i]).dtype)) accumulate(inputs[i], dx[i]);
    }
  }
  for (size_t i = 0; i < wrt.size(); ++i) {
    if (wrt[i] && wrt[i].id < static_cast<ValueId>(grad.size())) result[i] = grad[wrt[i].id];
  }
  return result;
}

std::vector<Value> Gradients(Value scalar, std::span<const Value> wrt) {
  if (!scalar) return std::vector<Value>(wrt.size());
  const Value outputs[] = {scalar};
  const Value cotangents[] = {Like(scalar, 1)};
  return Gradients(outputs, cotangents, wrt);
}

}  // namespace strata
