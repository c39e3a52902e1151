#include "engine/passes/clusters.h"

#include <algorithm>

#include "engine/graph/program.h"

namespace strata {
namespace {

constexpr size_t kMaxMembers = 48;
// Paths are searched among this many nodes at most; a search that gives up forbids the merge.
constexpr int kMaxSearch = 4000;

class Finder {
 public:
  explicit Finder(const Graph& g) : g_(g) {
    result_.of_node.assign(g.nodes().size(), -1);
    seen_.assign(g.nodes().size(), 0);
    behind_group_.assign(g.nodes().size(), false);
    readers_.resize(g.values().size());
    for (size_t n = 0; n < g.nodes().size(); ++n) {
      for (ValueId v : g.nodes()[n].inputs) readers_[v].push_back(static_cast<NodeId>(n));
    }
    FindUpdates();
  }

  Clusters Find() {
    for (size_t n = 0; n < g_.nodes().size(); ++n) {
      const Node& node = g_.nodes()[n];
      if (IsCandidate(node)) Place(static_cast<NodeId>(n));
      behind_group_[n] = result_.of_node[n] >= 0;
      for (ValueId v : node.inputs) behind_group_[n] = behind_group_[n] || behind_group_[g_.info(v).node];
    }
    return std::move(result_);
  }

 private:
  // Nodes from which only assignments can be reached.
  void FindUpdates() {
    update_.assign(g_.nodes().size(), true);
    std::vector<bool> output(g_.values().size(), false);
    for (const NamedValue& o : g_.outputs()) output[o.value] = true;
    for (size_t n = g_.nodes().size(); n-- > 0;) {
      const Node& node = g_.nodes()[n];
      if (node.op == Op::kAssign) continue;
      for (ValueId v : node.outputs) {
        if (output[v]) update_[n] = false;
        for (NodeId reader : readers_[v]) update_[n] = update_[n] && update_[reader];
      }
    }
  }

  bool IsCandidate(const Node& node) const {
    if (node.op == Op::kReduceSum) return g_.info(node.inputs[0]).dtype == DType::kF32;
    if (!IsElementwise(node.op) || !IsFusable(g_.info(node.outputs[0]).dtype)) return false;
    return std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) { return IsFusable(g_.info(v).dtype); });
  }

  // The iteration space of a node, and for a sum its split.
  bool SpaceOf(const Node& node, Shape* space, int32_t* row_axes) const {
    *row_axes = -1;
    if (node.op != Op::kReduceSum) {
      *space = g_.info(node.outputs[0]).shape;
      return true;
    }
    *space = g_.info(node.inputs[0]).shape;
    FusedAttrs::Store store;
    if (!SumPattern(*space, node.as<AxesAttrs>().axes, &store, row_axes)) return false;
    if (store == FusedAttrs::Store::kSumAll) *row_axes = -1;
    return NumElements(*space) > 0;
  }

  void Place(NodeId n) {
    const Node& node = g_.nodes()[n];
    Shape space;
    int32_t row_axes;
    if (!SpaceOf(node, &space, &row_axes)) return;
    // Starts alone, then joins the groups of its operands, and of other readers of its operands.
    int32_t own = -1;
    const auto join = [&](int32_t other) {
      if (other < 0 || other == own) return;
      const Cluster& c = result_.clusters[other];
      if (c.space != space || c.update != update_[n]) return;
      const int32_t mine = own < 0 ? row_axes : result_.clusters[own].row_axes;
      if (mine >= 0 && c.row_axes >= 0 && mine != c.row_axes) return;
      const size_t size = c.members.size() + (own < 0 ? 1 : result_.clusters[own].members.size());
      if (size > kMaxMembers) return;
      if (own < 0) {
        if (!CanJoin(other, n)) return;
        Add(other, n, row_axes);
        own = other;
      } else if (!HasPath(own, other) && !HasPath(other, own)) {
        own = Merge(own, other);
      }
    };
    for (ValueId v : node.inputs) {
      const NodeId producer = g_.info(v).node;
      if (!IsSum(producer)) join(result_.of_node[producer]);
    }
    if (own < 0) {
      own = static_cast<int32_t>(result_.clusters.size());
      result_.clusters.push_back({space, row_axes, {}, update_[n]});
      Add(own, n, row_axes);
    }
    // A sum shares the pass over its operand with that value's other readers, what is summed next with the sums.
    if ((!IsSum(n) && !FeedsSum(node)) || NumElements(space) < 64) return;
    for (ValueId v : node.inputs) {
      for (NodeId reader : readers_[v]) {
        if (reader < n && (IsSum(n) || IsSum(reader))) join(result_.of_node[reader]);
      }
    }
  }

  // Whether the node's value is summed, by itself or after some more operations of which nothing else reads.
  bool FeedsSum(const Node& node) const {
    const std::vector<NodeId>* readers = &readers_[node.outputs[0]];
    for (int steps = 0; steps < 4 && readers->size() == 1 && IsElementwise(g_.nodes()[readers->front()].op); ++steps) {
      readers = &readers_[g_.nodes()[readers->front()].outputs[0]];
    }
    return std::any_of(readers->begin(), readers->end(), [&](NodeId r) { return IsSum(r); });
  }
  bool IsSum(NodeId n) const { return g_.nodes()[n].op == Op::kReduceSum; }

  void Add(int32_t cluster, NodeId n, int32_t row_axes) {
    Cluster& c = result_.clusters[cluster];
    c.members.push_back(n);
    if (row_axes >= 0) c.row_axes = row_axes;
    result_.of_node[n] = cluster;
  }

  int32_t Merge(int32_t a, int32_t b) {
    Cluster &to = result_.clusters[a], &from = result_.clusters[b];
    for (NodeId n : from.members) result_.of_node[n] = a;
    to.members.insert(to.members.end(), from.members.begin(), from.members.end());
    std::sort(to.members.begin(), to.members.end());
    if (from.row_axes >= 0) to.row_axes = from.row_axes;
    from.members.clear();
    from.space = {-1};
    return a;
  }

  // Whether the node may join: it reads no sum of the group, and nothing that depends on the group from outside.
  bool CanJoin(int32_t cluster, NodeId n) {
    for (ValueId v : g_.nodes()[n].inputs) {
      const NodeId producer = g_.info(v).node;
      if (result_.of_node[producer] == cluster) {
        if (IsSum(producer)) return false;
      } else if (Reaches(cluster, producer)) {
        return false;
      }
    }
    return true;
  }

  // Whether something in group `from` leads to group `to`, directly or through others: then the two may not become one,
  // unless directly without a sum in between.
  bool HasPath(int32_t from, int32_t to) {
    for (NodeId n : result_.clusters[to].members) {
      for (ValueId v : g_.nodes()[n].inputs) {
        const NodeId producer = g_.info(v).node;
        const int32_t of = result_.of_node[producer];
        if (of == to) continue;
        if (of == from) {
          if (IsSum(producer)) return true;
        } else if (Reaches(from, producer)) {
          return true;
        }
      }
    }
    return false;
  }

  // Whether node `target` depends on group `from`, groups taken as wholes.
  bool Reaches(int32_t from, NodeId target) {
    const std::vector<NodeId>& members = result_.clusters[from].members;
    if (members.empty()) return false;
    const NodeId first = members.front();
    ++search_;
    stack_.assign(1, target);
    seen_[target] = search_;
    int steps = 0;
    while (!stack_.empty()) {
      const NodeId n = stack_.back();
      stack_.pop_back();
      const int32_t group = result_.of_node[n];
      if (group == from) return true;
      if (++steps > kMaxSearch) return true;
      const auto visit = [&](NodeId m) {
        for (ValueId v : g_.nodes()[m].inputs) {
          const NodeId p = g_.info(v).node;
          // A node before the group's first one cannot depend on it, unless through a group, which may reach further.
          if (p < first && !behind_group_[p]) continue;
          if (seen_[p] == search_) continue;
          seen_[p] = search_;
          stack_.push_back(p);
        }
      };
      if (group < 0) {
        visit(n);
      } else {
        for (NodeId m : result_.clusters[group].members) {
          seen_[m] = search_;
          visit(m);
        }
      }
    }
    return false;
  }

  const Graph& g_;
  Clusters result_;
  std::vector<std::vector<NodeId>> readers_;
  std::vector<bool> update_;
  std::vector<bool> behind_group_;  // the node is in a group or depends on one
  // Of the searches for paths: nodes still to visit, and the search that saw each node last.
  std::vector<NodeId> stack_;
  std::vector<int> seen_;
  int search_ = 0;
};

}  // namespace

Clusters FindClusters(const Graph& graph) { return Finder(graph).Find(); }

}  // namespace strata
