// Sums over the last axes and over some that are not next to them, as of channels-first activations, in two: first
// within rows, which joins the elementwise chain before it, then of the few numbers left.
#include <algorithm>

#include "engine/ops/ops.h"
#include "engine/passes/passes.h"
#include "engine/passes/rewriter.h"

namespace strata {
namespace {

constexpr int64_t kLeastRow = 64;  // elements that are worth a sum of their own

}  // namespace

Graph SplitSums(const Graph& graph) {
  Rewriter w(graph);
  return w.Run([&](const Node& node, std::span<const Value> in, std::vector<Value>* results) {
    if (node.op != Op::kReduceSum || in[0].dtype() != DType::kF32) return false;
    std::vector<int64_t> axes = node.as<AxesAttrs>().axes, last;
    std::sort(axes.begin(), axes.end());
    int64_t row = 1;
    for (int64_t d = in[0].rank() - 1; !axes.empty() && axes.back() == d; --d) {
      axes.pop_back();
      last.insert(last.begin(), d);
      row *= in[0].dim(d);
    }
    if (axes.empty() || last.empty() || row < kLeastRow) return false;
    *results = {ReduceSum(ReduceSum(in[0], last), axes)};
    return true;
  });
}

}  // namespace strata
