#include "engine/graph/program.h"

namespace strata {

bool SumPattern(const Shape& x, const std::vector<int64_t>& axes, FusedAttrs::Store* store, int32_t* row_axes) {
  using Store = FusedAttrs::Store;
  std::vector<bool> reduced(x.size(), false);
  for (const int64_t a : axes) reduced[a] = true;
  size_t changes = 0, split = 0;
  int first = -1, previous = -1;
  for (size_t d = 0; d < x.size(); ++d) {
    if (x[d] == 1) continue;  // stands on either side
    const int now = reduced[d] ? 1 : 0;
    if (previous >= 0 && now != previous) {
      ++changes;
      split = d;
    }
    if (first < 0) first = now;
    previous = now;
  }
  if (changes > 1 || (changes == 0 && first != 1)) return false;
  *store = changes == 0 ? Store::kSumAll : first == 1 ? Store::kSumColumns : Store::kSumRows;
  *row_axes = static_cast<int32_t>(split);
  return true;
}

std::optional<FusedAttrs> ProgramOf(const Graph& graph, const Node& node) {
  using Store = FusedAttrs::Store;
  if (node.op == Op::kFused) return node.as<FusedAttrs>();
  if (node.op != Op::kReduceSum && !IsElementwise(node.op)) return {};
  const ValueInfo& result = graph.info(node.outputs[0]);
  FusedAttrs at;
  at.types = {result.dtype};
  at.shapes = {result.shape};
  if (node.op == Op::kReduceSum) {
    at.results = {{0, Store::kSumAll}};
    at.space = graph.info(node.inputs[0]).shape;
    if (!SumPattern(at.space, node.as<AxesAttrs>().axes, &at.results[0].store, &at.row_axes)) return {};
  } else {
    const size_t inputs = node.inputs.size();
    const auto reg = [&](size_t i) { return i < inputs ? static_cast<int16_t>(i) : int16_t{-1}; };
    at.code = {{node.op, reg(0), reg(1), reg(2)}};
    at.results = {{static_cast<int16_t>(inputs), Store::kFull}};
    at.space = result.shape;
  }
  return at;
}

}  // namespace strata
