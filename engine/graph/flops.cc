#include "engine/graph/flops.h"

#include "engine/base/shape.h"

namespace strata {
namespace {

int64_t FlopsOf(const Graph& g, const Node& node) {
  const int64_t result = NumElements(g.info(node.outputs[0]).shape);
  switch (node.op) {
    case Op::kMatMul: {
      const Shape& a = g.info(node.inputs[0]).shape;
      return 2 * result * (node.as<MatMulAttrs>().transpose_a ? a[a.size() - 2] : a.back());
    }
    case Op::kConv: {
      const Shape& w = g.info(node.inputs[1]).shape;
      const int64_t out = node.as<ConvAttrs>().weights_oi ? w[0] : w.back();
      return out == 0 ? 0 : 2 * result * (NumElements(w) / out);
    }
    case Op::kScan:
      return node.as<ScanAttrs>().length * CountFlops(*node.as<ScanAttrs>().body);
    case Op::kFused:
      return NumElements(node.as<FusedAttrs>().space) * static_cast<int64_t>(node.as<FusedAttrs>().code.size());
    case Op::kSoftmax:
    case Op::kLogSoftmax:
      return result;
    default:
      return IsElementwise(node.op) ? result : 0;
  }
}

}  // namespace

int64_t CountFlops(const Graph& graph) {
  int64_t flops = 0;
  for (const Node& node : graph.nodes()) {
    if (!node.outputs.empty()) flops += FlopsOf(graph, node);
  }
  return flops;
}

}  // namespace strata
