#include "engine/passes/rewriter.h"

#include <cstring>

#include "engine/base/status.h"

namespace strata {
namespace {

// Writes attributes as bytes, each list with its length.
struct KeyWriter {
  std::string key;

  template <typename T>
  void Plain(const T& v) {
    key.append(reinterpret_cast<const char*>(&v), sizeof(T));
  }
  void List(const std::vector<int64_t>& v) {
    Plain(v.size());
    for (const int64_t x : v) Plain(x);
  }

  bool operator()(const NoAttrs&) { return true; }
  bool operator()(const AxesAttrs& a) {
    List(a.axes);
    return true;
  }
  bool operator()(const ShapeAttrs& a) {
    List(a.shape);
    Plain(a.axis);
    Plain(a.dtype);
    return true;
  }
  bool operator()(const LiteralAttrs& a) {
    const Tensor& t = *a.value;
    if (t.size_bytes() > 4096) return false;
    Plain(t.dtype());
    List(t.shape());
    key.append(static_cast<const char*>(t.raw()), t.size_bytes());
    return true;
  }
  bool operator()(const CastAttrs& a) {
    Plain(a.dtype);
    return true;
  }
  bool operator()(const VariableAttrs&) { return false; }
  bool operator()(const RandomAttrs& a) {
    Plain(a.stream);
    List(a.shape);
    return true;
  }
  bool operator()(const MatMulAttrs& a) {
    for (const bool b : {a.transpose_a, a.transpose_b, a.bias, a.residual, a.relu}) Plain(b);
    return true;
  }
  bool operator()(const ConvAttrs& a) {
    for (const auto* v : {&a.stride, &a.pad_lo, &a.pad_hi, &a.dilation, &a.result}) List(*v);
    Plain(a.groups);
    for (const bool b : {a.weights_oi, a.bias, a.residual, a.relu}) Plain(b);
    return true;
  }
  bool operator()(const PoolAttrs& a) {
    Plain(a.axes.size());
    for (const auto& axis : a.axes) {
      List(axis.start);
      List(axis.length);
      Plain(axis.dilation);
    }
    List(a.input);
    Plain(a.near_ties);
    return true;
  }
  bool operator()(const PadAttrs& a) {
    List(a.lo);
    List(a.hi);
    Plain(a.value);
    return true;
  }
  bool operator()(const SliceAttrs& a) {
    List(a.start);
    List(a.size);
    List(a.step);
    return true;
  }
  bool operator()(const ScanAttrs&) { return false; }
  bool operator()(const FusedAttrs&) { return false; }
};

}  // namespace

Graph Rewriter::Run(const Rule& rule) {
  size_t next_input = 0;
  for (const Node& node : from_.nodes()) {
    if (node.op == Op::kInput) {
      const NamedValue& in = from_.inputs()[next_input++];
      map_[in.value] = out_.AddInput(in.name, from_.info(in.value).dtype, from_.info(in.value).shape);
      continue;
    }
    if (node.op == Op::kVariable) {
      const VariableInfo& info = from_.variables()[node.as<VariableAttrs>().index];
      map_[info.value] = out_.AddVariable(info);
      continue;
    }
    std::vector<Value> in, out;
    for (ValueId v : node.inputs) in.push_back(map_[v]);
    if (!rule(node, in, &out)) out = CopyNode(&out_, from_, node, in);
    if (!out_.ok()) return std::move(out_);
    STRATA_CHECK(out.size() == node.outputs.size());
    for (size_t i = 0; i < out.size(); ++i) {
      if (!out[i]) continue;  // the rule promises that nobody reads it
      STRATA_CHECK(out[i].shape() == from_.info(node.outputs[i]).shape &&
                   out[i].dtype() == from_.info(node.outputs[i]).dtype);
      map_[node.outputs[i]] = out[i];
    }
  }
  for (const NamedValue& o : from_.outputs()) out_.MarkOutput(o.name, map_[o.value]);
  return std::move(out_);
}

std::vector<Value> CopyNode(Graph* g, const Graph& from, const Node& node, std::span<const Value> in) {
  std::vector<ValueInfo> results;
  for (ValueId v : node.outputs) results.push_back({from.info(v).dtype, from.info(v).shape});
  return g->AddNode(node.op, node.attrs, in, std::move(results));
}

std::vector<int> CountUses(const Graph& graph) {
  std::vector<int> uses(graph.values().size(), 0);
  for (const Node& node : graph.nodes()) {
    for (ValueId v : node.inputs) ++uses[v];
  }
  for (const NamedValue& o : graph.outputs()) ++uses[o.value];
  return uses;
}

std::optional<std::string> AttrsKey(const Attrs& attrs) {
  KeyWriter w;
  w.Plain(attrs.index());
  if (!std::visit(w, attrs)) return std::nullopt;
  return std::move(w.key);
}

bool IsConstant(const Value& v) { return v && v.graph->producer(v.id).op == Op::kConstant; }

std::optional<double> ScalarConstant(const Value& v) {
  if (!IsConstant(v) || v.num_elements() != 1) return std::nullopt;
  return v.graph->producer(v.id).as<LiteralAttrs>().value->At(0);
}

}  // namespace strata
