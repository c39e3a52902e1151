// Per-channel factors and offsets after a product or convolution with constant weights become part of the weights and
// of the bias: a published version's batch normalisation costs nothing.
#include "engine/ops/ops.h"
#include "engine/passes/passes.h"
#include "engine/passes/rewriter.h"

namespace strata {
namespace {

const Tensor& LiteralOf(const Value& v) { return *v.graph->producer(v.id).as<LiteralAttrs>().value; }

// What is needed to rewrite a product: its operands, of which the weights and the bias, if any, are constants.
struct Product {
  Op op;
  Attrs attrs;
  std::vector<Value> operands;  // x, weights [, bias]
  int64_t channels;
  bool channels_first;  // of the weights' axes

  bool has_bias() const { return operands.size() == 3; }
};

std::optional<Product> ProductOf(Graph* g, const Value& y) {
  const Node& n = g->producer(y.id);
  if (y.dtype() != DType::kF32 || (n.op != Op::kConv && n.op != Op::kMatMul)) return {};
  Product p{n.op, n.attrs, {}, y.shape().back(), false};
  for (const ValueId v : n.inputs) p.operands.push_back(g->value(v));
  for (size_t i = 1; i < p.operands.size(); ++i) {
    if (!IsConstant(p.operands[i])) return {};
  }
  if (n.op == Op::kConv) {
    const auto& at = n.as<ConvAttrs>();
    p.channels_first = at.weights_oi;
    return at.relu || at.residual ? std::nullopt : std::optional(std::move(p));
  }
  const auto& at = n.as<MatMulAttrs>();
  p.channels_first = at.transpose_b;
  return at.relu || at.residual || p.operands[1].rank() != 2 ? std::nullopt : std::optional(std::move(p));
}

// The factors or offsets by channel, if `v` is a constant that differs along the last axis only.
std::optional<std::vector<double>> ByChannel(const Value& v, int64_t channels) {
  if (!IsConstant(v) || !IsFloat(v.dtype())) return {};
  const int64_t n = v.num_elements();
  if (n != 1 && (n != channels || v.shape().back() != channels)) return {};
  std::vector<double> out(static_cast<size_t>(channels));
  for (int64_t c = 0; c < channels; ++c) out[c] = LiteralOf(v).At(n == 1 ? 0 : c);
  return out;
}

Tensor Scaled(const Tensor& weights, const std::vector<double>& factors, bool channels_first) {
  Tensor out = weights.Clone();
  const int64_t channels = static_cast<int64_t>(factors.size()), n = out.num_elements();
  const int64_t inner = channels_first ? n / channels : 1;
  float* w = out.data<float>();
  for (int64_t i = 0; i < n; ++i) w[i] = static_cast<float>(w[i] * factors[i / inner % channels]);
  return out;
}

// y * factors + offsets, as one product.
Value Fold(Graph* g, Product p, const std::vector<double>* factors, const std::vector<double>* offsets) {
  Tensor bias(DType::kF32, {p.channels});
  for (int64_t c = 0; c < p.channels; ++c) {
    const double old = p.has_bias() ? LiteralOf(p.operands[2]).At(c) : 0;
    bias.Set(c, old * (factors != nullptr ? (*factors)[c] : 1) + (offsets != nullptr ? (*offsets)[c] : 0));
  }
  if (factors != nullptr) {
    p.operands[1] = Constant(g, Scaled(LiteralOf(p.operands[1]), *factors, p.channels_first));
  }
  if (p.has_bias() || offsets != nullptr) {
    p.operands.resize(2);
    p.operands.push_back(Constant(g, std::move(bias)));
    if (auto* conv = std::get_if<ConvAttrs>(&p.attrs)) {
      conv->bias = true;
    } else {
      std::get<MatMulAttrs>(p.attrs).bias = true;
    }
  }
  return Emit(g, p.op, std::move(p.attrs), p.operands)[0];
}

}  // namespace

Graph FoldAffine(const Graph& graph) {
  const std::vector<int> uses = CountUses(graph);
  Rewriter w(graph);
  return Prune(w.Run([&](const Node& node, std::span<const Value> in, std::vector<Value>* out) {
    if (node.op != Op::kAdd && node.op != Op::kSub && node.op != Op::kMul && node.op != Op::kDiv) return false;
    const bool commutes = node.op == Op::kAdd || node.op == Op::kMul;
    for (const size_t side : {size_t{0}, size_t{1}}) {
      if (side == 1 && !commutes) continue;
      if (uses[node.inputs[side]] != 1 || in[side].shape() != graph.info(node.outputs[0]).shape) continue;
      std::optional<Product> product = ProductOf(&w.graph(), in[side]);
      if (!product) continue;
      std::optional<std::vector<double>> constant = ByChannel(in[1 - side], product->channels);
      if (!constant) continue;
      if (node.op == Op::kSub) {
        for (double& v : *constant) v = -v;
      } else if (node.op == Op::kDiv) {
        for (double& v : *constant) v = 1 / v;
      }
      const bool offset = node.op == Op::kAdd || node.op == Op::kSub;
      *out = {Fold(&w.graph(), *std::move(product), offset ? nullptr : &*constant, offset ? &*constant : nullptr)};
      return true;
    }
    return false;
  }));
}

}  // namespace strata
