#include "engine/passes/recompute.h"

#include <algorithm>
#include <set>

#include "engine/passes/clusters.h"
#include "engine/passes/rewriter.h"

namespace strata {
namespace {

constexpr int64_t kMinElements = 256;  // of a value that is worth it
constexpr int64_t kSmall = 16;         // operands this many times smaller than the value cost nothing
constexpr size_t kMaxChain = 4;        // operations that one copy repeats
constexpr size_t kMaxLeaves = 2;       // large values that one copy reads

bool IsCheap(Op op) {
  switch (op) {
    case Op::kNeg:
    case Op::kAbs:
    case Op::kSign:
    case Op::kNot:
    case Op::kCast:
    case Op::kAdd:
    case Op::kSub:
    case Op::kMul:
    case Op::kMax:
    case Op::kMin:
    case Op::kLess:
    case Op::kLessEqual:
    case Op::kEqual:
    case Op::kAnd:
    case Op::kOr:
    case Op::kSelect:
      return true;
    default:
      return false;
  }
}

class Copier {
 public:
  explicit Copier(const Graph& g)
      : g_(g), readers_(g.values().size()), copied_(g.values().size(), false), cost_(g.values().size()) {
    for (size_t n = 0; n < g.nodes().size(); ++n) {
      for (ValueId v : g.nodes()[n].inputs) readers_[v].push_back(static_cast<NodeId>(n));
    }
    std::vector<bool> output(g.values().size(), false);
    for (const NamedValue& o : g.outputs()) output[o.value] = true;
    for (const Node& node : g.nodes()) {
      if (node.outputs.size() == 1 && !output[node.outputs[0]]) Decide(node);
    }
  }

  Graph Run() {
    Rewriter w(g_);
    out_ = &w.graph();
    map_.resize(g_.values().size());
    return w.Run([&](const Node& node, std::span<const Value> in, std::vector<Value>* out) {
      std::vector<Value> mine(in.begin(), in.end());
      for (size_t i = 0; i < mine.size(); ++i) {
        map_[node.inputs[i]] = mine[i];
        if (copied_[node.inputs[i]]) mine[i] = Copy(node.inputs[i]);
      }
      *out = CopyNode(out_, g_, node, mine);  // of a copied value: a leftover that pruning takes away
      return true;
    });
  }

 private:
  struct Cost {
    size_t chain = 0;
    std::set<ValueId> leaves;
  };

  void Decide(const Node& node) {
    const ValueId v = node.outputs[0];
    const Shape& shape = g_.info(v).shape;
    const int64_t size = NumElements(shape);
    if (!IsElementwise(node.op) || !IsCheap(node.op) || size < kMinElements || !IsFusable(g_.info(v).dtype)) return;
    for (const NodeId reader : readers_[v]) {
      const Node& r = g_.nodes()[reader];
      const bool sum = r.op == Op::kReduceSum;
      if (!sum &&
          !(IsElementwise(r.op) && g_.info(r.outputs[0]).shape == shape && IsFusable(g_.info(r.outputs[0]).dtype)))
        return;
    }
    Cost cost{1, {}};
    for (ValueId operand : node.inputs) {
      if (!IsFusable(g_.info(operand).dtype)) return;
      if (NumElements(g_.info(operand).shape) * kSmall <= size) continue;
      if (copied_[operand]) {
        cost.chain += cost_[operand].chain;
        cost.leaves.insert(cost_[operand].leaves.begin(), cost_[operand].leaves.end());
      } else if (IsElementwise(g_.producer(operand).op) && readers_[operand].size() < 2) {
        return;  // would have to be stored for the copies' sake
      } else {
        cost.leaves.insert(operand);
      }
    }
    if (cost.chain > kMaxChain || cost.leaves.size() > kMaxLeaves) return;
    copied_[v] = true;
    cost_[v] = std::move(cost);
  }

  Value Copy(ValueId v) {
    const Node& node = g_.producer(v);
    std::vector<Value> in;
    for (ValueId operand : node.inputs) in.push_back(copied_[operand] ? Copy(operand) : map_[operand]);
    return CopyNode(out_, g_, node, in)[0];
  }

  const Graph& g_;
  std::vector<std::vector<NodeId>> readers_;
  std::vector<bool> copied_;
  std::vector<Cost> cost_;
  Graph* out_ = nullptr;
  std::vector<Value> map_;  // operands seen so far
};

}  // namespace

Graph CopyCheapValues(const Graph& graph) { return Prune(Copier(graph).Run()); }

}  // namespace strata
