// Bias, a residual and relu join the matrix product or convolution before them.
#include "engine/passes/epilogues.h"
#include "engine/base/status.h"
#include "engine/ops/ops.h"
#include "engine/passes/rewriter.h"

namespace strata {
namespace {

// Whether a node is a product that can still take a bias or a relu.
bool IsProduct(const Node& n, bool bias) {
  if (n.op == Op::kMatMul) {
    const auto& at = n.as<MatMulAttrs>();
    return !at.relu && !(bias && (at.bias || at.residual));
  }
  if (n.op == Op::kConv) {
    const auto& at = n.as<ConvAttrs>();
    return !at.relu && !(bias && (at.bias || at.residual));
  }
  return false;
}

Value EmitProduct(Graph* g, const Node& product, std::vector<Value> in, bool bias, bool relu) {
  Attrs attrs = product.attrs;
  if (auto* m = std::get_if<MatMulAttrs>(&attrs)) {
    m->bias |= bias;
    m->relu |= relu;
  } else {
    auto& c = std::get<ConvAttrs>(attrs);
    c.bias |= bias;
    c.relu |= relu;
  }
  return Emit(g, product.op, std::move(attrs), in)[0];
}

bool IsZero(const Graph& g, ValueId v) {
  const Node& n = g.producer(v);
  return n.op == Op::kConstant && NumElements(g.info(v).shape) == 1 && n.as<LiteralAttrs>().value->At(0) == 0;
}

Graph AddBiases(const Graph& from) {
  const std::vector<int> uses = CountUses(from);
  Rewriter w(from);
  return w.Run([&](const Node& node, std::span<const Value> in, std::vector<Value>* out) {
    if (node.op != Op::kAdd) return false;
    for (const size_t side : {size_t{0}, size_t{1}}) {
      const ValueId x = node.inputs[side], b = node.inputs[1 - side];
      const Shape& shape = from.info(x).shape;
      if (uses[x] != 1 || shape != from.info(node.outputs[0]).shape || from.info(x).dtype != DType::kF32) continue;
      // Products of more than two axes are reshaped products of two.
      const Node* product = &from.producer(x);
      Value y = in[side];
      if (product->op == Op::kReshape && uses[product->inputs[0]] == 1) {
        y = w.graph().value(w.graph().producer(y.id).inputs[0]);
        product = &from.producer(product->inputs[0]);
      }
      if (!IsProduct(*product, true) || from.info(product->outputs[0]).shape.back() != shape.back()) continue;
      const Shape& bias = from.info(b).shape;
      if (bias.empty() || bias.back() != shape.back() || NumElements(bias) != shape.back()) continue;
      const Node& made = w.graph().producer(y.id);
      if (!IsProduct(made, true)) continue;
      std::vector<Value> operands;
      for (ValueId v : made.inputs) operands.push_back(w.graph().value(v));
      operands.push_back(Reshape(in[1 - side], {shape.back()}));
      const Node copy = w.graph().producer(y.id);
      *out = {Reshape(EmitProduct(&w.graph(), copy, operands, true, false), shape)};
      return true;
    }
    return false;
  });
}

// By value: whether an elementwise node or a reduction reads it, which could as well add it up itself.
std::vector<bool> FindFusable(const Graph& g) {
  std::vector<bool> fusable(g.values().size(), false);
  for (const Node& n : g.nodes()) {
    if (!IsElementwise(n.op) && n.op != Op::kReduceSum && n.op != Op::kReduceMax && n.op != Op::kReduceMin) continue;
    for (const ValueId v : n.inputs) fusable[v] = true;
  }
  return fusable;
}

// A sum of a product, which nobody else reads, and a value of its shape. Of two the later one takes it.
Graph AddResiduals(const Graph& from) {
  const std::vector<int> uses = CountUses(from);
  const std::vector<bool> fusable = FindFusable(from);
  const auto takes = [&](ValueId x, ValueId sum) {
    const Node& n = from.producer(x);
    if (uses[x] != 1 || from.info(x).shape != from.info(sum).shape || from.info(x).dtype != DType::kF32) return false;
    if (n.op == Op::kMatMul) {
      const auto& at = n.as<MatMulAttrs>();
      return !at.bias && !at.residual && !at.relu && !fusable[sum];
    }
    return n.op == Op::kConv && !n.as<ConvAttrs>().relu && !n.as<ConvAttrs>().residual;
  };
  Rewriter w(from);
  return w.Run([&](const Node& node, std::span<const Value> in, std::vector<Value>* out) {
    if (node.op != Op::kAdd) return false;
    const ValueId a = node.inputs[0], b = node.inputs[1], sum = node.outputs[0];
    if (from.info(a).shape != from.info(b).shape || a == b) return false;
    const size_t later = a > b ? 0 : 1, side = takes(node.inputs[later], sum) ? later : 1 - later;
    if (!takes(node.inputs[side], sum)) return false;
    const Node product = w.graph().producer(in[side].id);
    std::vector<Value> operands;
    for (ValueId v : product.inputs) operands.push_back(w.graph().value(v));
    operands.push_back(in[1 - side]);
    Attrs attrs = product.attrs;
    if (auto* m = std::get_if<MatMulAttrs>(&attrs)) {
      m->residual = true;
    } else {
      std::get<ConvAttrs>(attrs).residual = true;
    }
    *out = {Emit(&w.graph(), product.op, std::move(attrs), operands)[0]};
    return true;
  });
}

// relu(y) = select(y <= 0, 0, y). Other readers of y <= 0 (the gradient's mask) read relu(y) <= 0, which is the same.
Graph AddRelus(const Graph& from) {
  const std::vector<int> uses = CountUses(from);
  // By value of y: whether the pattern holds.
  std::vector<bool> selected(from.values().size(), false);
  for (const Node& node : from.nodes()) {
    if (node.op != Op::kSelect) continue;
    const Node& less = from.producer(node.inputs[0]);
    const ValueId y = node.inputs[2];
    if (less.op != Op::kLessEqual || less.inputs[0] != y || !IsZero(from, less.inputs[1])) continue;
    if (!IsZero(from, node.inputs[1])) continue;
    const Node& product = from.producer(y);
    if (uses[y] != 2 || !IsProduct(product, false) || from.info(node.outputs[0]).shape != from.info(y).shape) continue;
    if (from.info(y).dtype == DType::kF32) selected[y] = true;
  }
  std::vector<Value> relu(from.values().size());
  Rewriter w(from);
  return w.Run([&](const Node& node, std::span<const Value> in, std::vector<Value>* out) {
    if (node.op == Op::kLessEqual && selected[node.inputs[0]]) {
      const ValueId y = node.inputs[0];
      const Node copy = w.graph().producer(in[0].id);
      std::vector<Value> operands;
      for (ValueId v : copy.inputs) operands.push_back(w.graph().value(v));
      relu[y] = EmitProduct(&w.graph(), copy, operands, false, true);
      *out = {LessEqual(relu[y], in[1])};
      return true;
    }
    if (node.op == Op::kSelect && selected[node.inputs[2]] && relu[node.inputs[2]]) {
      *out = {relu[node.inputs[2]]};
      return true;
    }
    return false;
  });
}

}  // namespace

Graph FuseEpilogues(const Graph& graph) { return Prune(AddRelus(Prune(AddResiduals(Prune(AddBiases(graph)))))); }

}  // namespace strata
