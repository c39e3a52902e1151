// Transposes around products become flags of the product.
#include "engine/passes/rewriter.h"
#include "engine/passes/simplifier.h"

namespace strata {
namespace {

bool SwapsLastTwo(const Value& v) {
  if (ProducerOf(v).op != Op::kTranspose) return false;
  const auto& p = ProducerOf(v).as<AxesAttrs>().axes;
  const int64_t rank = static_cast<int64_t>(p.size());
  if (rank < 2 || p[rank - 1] != rank - 2 || p[rank - 2] != rank - 1) return false;
  for (int64_t d = 0; d + 2 < rank; ++d) {
    if (p[d] != d) return false;
  }
  return true;
}

// [O, C, K...] -> [K..., C, O].
std::vector<int64_t> FromOutputFirst(size_t rank) {
  std::vector<int64_t> p;
  for (size_t d = 2; d < rank; ++d) p.push_back(static_cast<int64_t>(d));
  p.push_back(1);
  p.push_back(0);
  return p;
}

// [K..., C, O] -> [O, C, K...].
std::vector<int64_t> ToOutputFirst(size_t rank) {
  std::vector<int64_t> p{static_cast<int64_t>(rank) - 1, static_cast<int64_t>(rank) - 2};
  for (size_t d = 0; d + 2 < rank; ++d) p.push_back(static_cast<int64_t>(d));
  return p;
}

bool IsTranspose(const Value& v, const std::vector<int64_t>& p) {
  return ProducerOf(v).op == Op::kTranspose && ProducerOf(v).as<AxesAttrs>().axes == p;
}

Value SimplifyMatMul(Simplifier* s, const Proposal& c) {
  MatMulAttrs at = std::get<MatMulAttrs>(c.attrs);
  std::vector<Value> in = c.in;
  if (SwapsLastTwo(in[0])) {
    at.transpose_a = !at.transpose_a;
    in[0] = OperandOf(in[0], 0);
  } else if (SwapsLastTwo(in[1])) {
    at.transpose_b = !at.transpose_b;
    in[1] = OperandOf(in[1], 0);
  } else {
    return {};
  }
  return s->Make(Op::kMatMul, at, std::move(in));
}

// (A B)^T = B^T A^T.
Value TransposeOfMatMul(Simplifier* s, const Value& product) {
  const MatMulAttrs at = ProducerOf(product).as<MatMulAttrs>();
  if (at.bias || at.relu) return {};
  return s->Make(Op::kMatMul, MatMulAttrs{!at.transpose_b, !at.transpose_a},
                 {OperandOf(product, 1), OperandOf(product, 0)});
}

}  // namespace

Value SimplifyProduct(Simplifier* s, const Proposal& c) {
  switch (c.op) {
    case Op::kMatMul:
      return SimplifyMatMul(s, c);
    case Op::kConv:
    case Op::kConvGradInput: {
      ConvAttrs at = std::get<ConvAttrs>(c.attrs);
      if (at.weights_oi || !IsTranspose(c.in[1], FromOutputFirst(c.in[1].shape().size()))) return {};
      at.weights_oi = true;
      std::vector<Value> in = c.in;
      in[1] = OperandOf(in[1], 0);
      return s->Make(c.op, std::move(at), std::move(in));
    }
    case Op::kTranspose: {
      const Value x = c.in[0];
      if (!s->IsReadOnce(x)) return {};
      const auto& p = std::get<AxesAttrs>(c.attrs).axes;
      const int64_t rank = static_cast<int64_t>(p.size());
      if (ProducerOf(x).op == Op::kMatMul && rank == 2) return TransposeOfMatMul(s, x);
      if (ProducerOf(x).op != Op::kConvGradWeight || p != ToOutputFirst(p.size())) return {};
      ConvAttrs at = ProducerOf(x).as<ConvAttrs>();
      if (at.weights_oi) return {};
      at.weights_oi = true;
      at.result = c.result.shape;
      return s->Make(Op::kConvGradWeight, std::move(at), {OperandOf(x, 0), OperandOf(x, 1)});
    }
    default:
      return {};
  }
}

}  // namespace strata
