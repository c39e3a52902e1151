// Builds one fused node for each group of elementwise nodes. Assignments of a group's results are written in place
// where no other reader of the variable can still come.
#include <algorithm>
#include <map>
#include <queue>
#include <set>

#include "engine/base/status.h"
#include "engine/graph/program.h"
#include "engine/passes/clusters.h"
#include "engine/passes/epilogues.h"
#include "engine/passes/passes.h"
#include "engine/passes/recompute.h"
#include "engine/passes/rewriter.h"

namespace strata {
namespace {

using Store = FusedAttrs::Store;

// The program of one group over the old graph's values.
struct Program {
  FusedAttrs attrs;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;  // of results that are no variable, in order
};

class Fuser {
 public:
  explicit Fuser(const Graph& g)
      : g_(g), found_(FindClusters(g)), readers_(g.values().size()), output_(g.values().size(), false) {
    for (size_t n = 0; n < g.nodes().size(); ++n) {
      for (ValueId v : g.nodes()[n].inputs) readers_[v].push_back(static_cast<NodeId>(n));
    }
    for (const NamedValue& o : g.outputs()) output_[o.value] = true;
    // A single node stays what it is, unless it can write a variable.
    in_place_.assign(found_.clusters.size(), {});
    ChooseInPlace();
    for (size_t c = 0; c < found_.clusters.size(); ++c) {
      if (found_.clusters[c].members.size() == 1 && in_place_[c].empty()) {
        found_.of_node[found_.clusters[c].members[0]] = -1;
        found_.clusters[c].members.clear();
      }
    }
  }

  Graph Run() {
    map_.resize(g_.values().size());
    MakeLeaves();
    for (const int32_t unit : Order()) {
      if (unit < 0) {
        EmitNode(-1 - unit);
      } else {
        EmitCluster(unit);
      }
    }
    for (const NamedValue& o : g_.outputs()) out_.MarkOutput(o.name, map_[o.value]);
    return std::move(out_);
  }

 private:
  // Variable and the assignment's node, by value that is written.
  struct Write {
    int32_t variable;
    NodeId assign;
  };

  bool IsMember(NodeId n, int32_t cluster) const { return found_.of_node[n] == cluster; }

  // Values of a group that somebody outside reads.
  std::vector<ValueId> Exported(int32_t cluster) const {
    std::vector<ValueId> out;
    for (NodeId n : found_.clusters[cluster].members) {
      const ValueId v = g_.nodes()[n].outputs[0];
      bool outside = output_[v];
      for (NodeId reader : readers_[v]) outside |= !IsMember(reader, cluster);
      if (outside) out.push_back(v);
    }
    return out;
  }

  int32_t VariableBehind(ValueId v) const {
    while (g_.producer(v).op == Op::kReshape) v = g_.producer(v).inputs[0];
    return g_.producer(v).op == Op::kVariable ? g_.producer(v).as<VariableAttrs>().index : -1;
  }

  std::set<int32_t> VariablesRead(int32_t cluster) const {
    std::set<int32_t> out;
    for (NodeId n : found_.clusters[cluster].members) {
      for (ValueId v : g_.nodes()[n].inputs) {
        if (const int32_t variable = VariableBehind(v); variable >= 0) out.insert(variable);
      }
    }
    return out;
  }

  // Groups all of whose results go to variables may write them in place: they run after every reader. A variable that
  // another such group reads stays until the copies.
  void ChooseInPlace() {
    std::vector<int32_t> writers;
    std::map<int32_t, std::set<int32_t>> reads;
    for (size_t c = 0; c < found_.clusters.size(); ++c) {
      if (!found_.clusters[c].update || !WritesOnly(static_cast<int32_t>(c))) continue;
      writers.push_back(static_cast<int32_t>(c));
      reads[writers.back()] = VariablesRead(writers.back());
    }
    for (const int32_t c : writers) {
      std::set<int32_t> mine;
      for (const ValueId v : Exported(c)) {
        for (const NodeId assign : readers_[v]) {
          if (g_.nodes()[assign].op != Op::kAssign) continue;
          const int32_t variable = g_.nodes()[assign].as<VariableAttrs>().index;
          bool taken = mine.contains(variable);
          for (const int32_t other : writers) taken |= other != c && reads[other].contains(variable);
          const bool sum = g_.producer(v).op == Op::kReduceSum;
          taken |= sum && reads[c].contains(variable);
          taken |= g_.producer(v).op == Op::kCast || g_.info(v).dtype != DType::kF32;
          if (taken) continue;
          mine.insert(variable);
          in_place_[c][v].push_back({variable, assign});
          done_.insert(assign);
        }
      }
    }
  }

  bool WritesOnly(int32_t cluster) const {
    const std::vector<ValueId> exported = Exported(cluster);
    if (exported.empty()) return false;
    for (const ValueId v : exported) {
      if (output_[v]) return false;
      for (NodeId reader : readers_[v]) {
        if (!IsMember(reader, cluster) && g_.nodes()[reader].op != Op::kAssign) return false;
      }
    }
    return true;
  }

  void MakeLeaves() {
    size_t next_input = 0;
    for (const Node& node : g_.nodes()) {
      if (node.op == Op::kInput) {
        const NamedValue& in = g_.inputs()[next_input++];
        map_[in.value] = out_.AddInput(in.name, g_.info(in.value).dtype, g_.info(in.value).shape);
      } else if (node.op == Op::kVariable) {
        const VariableInfo& info = g_.variables()[node.as<VariableAttrs>().index];
        map_[info.value] = out_.AddVariable(info);
      }
    }
  }

  // Units (groups, or -1 - node) in an order of dependence, as close to the original as it allows.
  std::vector<int32_t> Order() const {
    const size_t nodes = g_.nodes().size();
    const auto unit_of = [&](NodeId n) {
      return found_.of_node[n] >= 0 ? static_cast<size_t>(found_.of_node[n]) + nodes : static_cast<size_t>(n);
    };
    std::vector<std::set<size_t>> next(nodes + found_.clusters.size());
    std::vector<int> waiting(next.size(), 0);
    std::vector<NodeId> key(next.size(), -1);
    for (size_t n = 0; n < nodes; ++n) {
      const size_t unit = unit_of(static_cast<NodeId>(n));
      key[unit] = std::max(key[unit], static_cast<NodeId>(n));
      for (ValueId v : g_.nodes()[n].inputs) {
        const size_t from = unit_of(g_.info(v).node);
        if (from != unit && next[from].insert(unit).second) ++waiting[unit];
      }
    }
    using Entry = std::pair<NodeId, size_t>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> ready;
    size_t units = 0;
    for (size_t u = 0; u < next.size(); ++u) {
      if (key[u] < 0) continue;
      ++units;
      if (waiting[u] == 0) ready.push({key[u], u});
    }
    std::vector<int32_t> order;
    while (!ready.empty()) {
      const size_t u = ready.top().second;
      ready.pop();
      order.push_back(u >= nodes ? static_cast<int32_t>(u - nodes) : -1 - static_cast<int32_t>(u));
      for (const size_t after : next[u]) {
        if (--waiting[after] == 0) ready.push({key[after], after});
      }
    }
    STRATA_CHECK(order.size() == units);  // groups have no cycles
    return order;
  }

  void EmitNode(NodeId n) {
    const Node& node = g_.nodes()[n];
    if (node.op == Op::kInput || node.op == Op::kVariable || done_.contains(n)) return;
    std::vector<Value> in;
    for (ValueId v : node.inputs) in.push_back(map_[v]);
    Node copy = node;
    if (auto* scan = std::get_if<ScanAttrs>(&copy.attrs)) scan->body = std::make_shared<const Graph>(Fuse(*scan->body));
    const std::vector<Value> out = CopyNode(&out_, g_, copy, in);
    for (size_t i = 0; i < out.size(); ++i) map_[node.outputs[i]] = out[i];
  }

  void EmitCluster(int32_t cluster) {
    const Program p = ProgramOf(cluster);
    std::vector<Value> in;
    for (ValueId v : p.inputs) in.push_back(map_[v]);
    std::vector<ValueInfo> results;
    for (ValueId v : p.outputs) results.push_back({g_.info(v).dtype, g_.info(v).shape});
    const std::vector<Value> out = out_.AddNode(Op::kFused, p.attrs, in, std::move(results));
    for (size_t i = 0; i < out.size(); ++i) map_[p.outputs[i]] = out[i];
  }

  Program ProgramOf(int32_t cluster) const {
    const Cluster& c = found_.clusters[cluster];
    Program p;
    p.attrs.space = c.space;
    p.attrs.row_axes = std::max(c.row_axes, 0);
    std::map<ValueId, int16_t> reg;
    for (NodeId n : c.members) {
      for (ValueId v : g_.nodes()[n].inputs) {
        if (IsMember(g_.info(v).node, cluster) || reg.contains(v)) continue;
        reg[v] = static_cast<int16_t>(p.inputs.size());
        p.inputs.push_back(v);
      }
    }
    for (NodeId n : c.members) Translate(n, &p, &reg);
    for (const ValueId v : Exported(cluster)) AddResults(cluster, v, reg, &p);
    return p;
  }

  void Translate(NodeId n, Program* p, std::map<ValueId, int16_t>* reg) const {
    const Node& node = g_.nodes()[n];
    const auto at = [&](size_t i) { return i < node.inputs.size() ? reg->at(node.inputs[i]) : int16_t{-1}; };
    if (node.op == Op::kReduceSum) return;
    const auto add = [&](Op op, int16_t a, int16_t b, int16_t third) {
      if ((op == Op::kAdd || op == Op::kMul) && a > b) std::swap(a, b);
      for (size_t k = 0; k < p->attrs.code.size(); ++k) {  // copies of one value have met
        const auto& c = p->attrs.code[k];
        if (c.op == op && c.a == a && c.b == b && c.c == third) return static_cast<int16_t>(p->inputs.size() + k);
      }
      p->attrs.code.push_back({op, a, b, third});
      return static_cast<int16_t>(p->inputs.size() + p->attrs.code.size() - 1);
    };
    int16_t& result = (*reg)[node.outputs[0]];
    if (node.op != Op::kCast) {
      result = add(node.op, at(0), at(1), at(2));
    } else if (g_.info(node.inputs[0]).dtype == DType::kF32 && g_.info(node.outputs[0]).dtype == DType::kBool) {
      result = add(Op::kNot, add(Op::kNot, at(0), -1, -1), -1, -1);
    } else {
      result = at(0);  // booleans are numbers inside a program
    }
  }

  void AddResults(int32_t cluster, ValueId v, const std::map<ValueId, int16_t>& reg, Program* p) const {
    const Node& node = g_.producer(v);
    Store store = Store::kFull;
    int32_t row_axes = 0;
    ValueId source = v;
    if (node.op == Op::kReduceSum) {
      source = node.inputs[0];
      STRATA_CHECK(SumPattern(g_.info(source).shape, node.as<AxesAttrs>().axes, &store, &row_axes));
    }
    const auto add = [&](int32_t variable) {
      p->attrs.results.push_back({reg.at(source), store, variable});
      p->attrs.types.push_back(g_.info(v).dtype);
      p->attrs.shapes.push_back(g_.info(v).shape);
    };
    bool outside = output_[v];
    const auto writes = in_place_[cluster].find(v);
    if (writes != in_place_[cluster].end()) {
      for (const Write& w : writes->second) add(w.variable);
    }
    for (NodeId reader : readers_[v]) outside |= !IsMember(reader, cluster) && !done_.contains(reader);
    if (!outside) return;
    add(-1);
    p->outputs.push_back(v);
  }

  const Graph& g_;
  Clusters found_;
  std::vector<std::vector<NodeId>> readers_;
  std::vector<bool> output_;
  std::vector<std::map<ValueId, std::vector<Write>>> in_place_;  // by group
  std::set<NodeId> done_;                                        // assignments that are written in place
  Graph out_;
  std::vector<Value> map_;
};

}  // namespace

Graph Fuse(const Graph& graph) {
  const Graph prepared = CopyCheapValues(FuseEpilogues(graph));
  return Fuser(prepared).Run();
}

}  // namespace strata
