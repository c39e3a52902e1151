// Matrix products with leading batch axes.
#include "engine/base/status.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata {
namespace {

struct Sizes {
  int64_t batch, m, k, n;
};

Sizes SizesOf(const MatMulAttrs& attrs, const Shape& a, const Shape& b) {
  const size_t ra = a.size(), rb = b.size();
  Sizes s;
  s.m = attrs.transpose_a ? a[ra - 1] : a[ra - 2];
  s.k = attrs.transpose_a ? a[ra - 2] : a[ra - 1];
  s.n = attrs.transpose_b ? b[rb - 2] : b[rb - 1];
  s.batch = NumElements(std::span(a).first(ra - 2));
  return s;
}

absl::StatusOr<std::vector<ValueInfo>> InferMatmul(const Attrs& attrs, std::span<const ValueInfo* const> in) {
  const auto& at = std::get<MatMulAttrs>(attrs);
  const Shape &a = in[0]->shape, &b = in[1]->shape;
  if (in[0]->dtype != in[1]->dtype) {
    return InvalidArgument("matmul: operands must be of one type, got ", DTypeName(in[0]->dtype), " and ",
                           DTypeName(in[1]->dtype));
  }
  if (a.size() < 2 || a.size() != b.size()) {
    return InvalidArgument("matmul: operands must fit, got ", ShapeString(a), " and ", ShapeString(b));
  }
  const int64_t kb = at.transpose_b ? b[b.size() - 1] : b[b.size() - 2];
  const Sizes s = SizesOf(at, a, b);
  if (s.k != kb || !std::equal(a.begin(), a.end() - 2, b.begin())) {
    return InvalidArgument("matmul: operands must fit, got ", ShapeString(a), " and ", ShapeString(b));
  }
  if (at.bias && (in.size() != 3 || in[2]->shape != Shape{s.n})) return absl::InternalError("matmul: wrong bias");
  Shape shape(a.begin(), a.end() - 2);
  shape.push_back(s.m);
  shape.push_back(s.n);
  if (at.residual && (at.bias || in.size() != 3 || in[2]->shape != shape)) {
    return absl::InternalError("matmul: wrong residual");
  }
  return std::vector<ValueInfo>{{in[0]->dtype, std::move(shape)}};
}

// With A = op(a), B = op(b), Y = A B: dA = dY B^T, dB = A^T dY, each stored the way its operand is.
std::vector<Value> VjpMatmul(Graph* g, NodeId n, std::span<const Value> dy) {
  const MatMulAttrs at = g->nodes()[n].as<MatMulAttrs>();
  STRATA_CHECK(!at.bias && !at.residual && !at.relu);  // fusion comes after differentiation
  const Value a = g->value(g->nodes()[n].inputs[0]), b = g->value(g->nodes()[n].inputs[1]);
  const Value da = at.transpose_a ? MatMul(b, dy[0], at.transpose_b, true) : MatMul(dy[0], b, false, !at.transpose_b);
  const Value db = at.transpose_b ? MatMul(dy[0], a, true, at.transpose_a) : MatMul(a, dy[0], !at.transpose_a, false);
  return {da, db};
}

void RefMatmul(const Attrs& attrs, std::span<const RefTensor* const> in, std::span<RefTensor> out,
               std::span<const DType>) {
  const auto& at = std::get<MatMulAttrs>(attrs);
  const Sizes s = SizesOf(at, in[0]->shape, in[1]->shape);
  for (int64_t i = 0; i < s.batch; ++i) {
    const double* a = in[0]->data.data() + i * s.m * s.k;
    const double* b = in[1]->data.data() + i * s.k * s.n;
    double* y = out[0].data.data() + i * s.m * s.n;
    for (int64_t m = 0; m < s.m; ++m) {
      for (int64_t k = 0; k < s.k; ++k) {
        const double av = at.transpose_a ? a[k * s.m + m] : a[m * s.k + k];
        for (int64_t c = 0; c < s.n; ++c) y[m * s.n + c] += av * (at.transpose_b ? b[c * s.k + k] : b[k * s.n + c]);
      }
    }
  }
  for (size_t i = 0; i < out[0].data.size(); ++i) {
    double& v = out[0].data[i];
    if (at.bias) v += in[2]->data[i % s.n];
    if (at.residual) v += in[2]->data[i];
    if (at.relu) v = v <= 0 ? 0 : v;
  }
}

}  // namespace

std::span<const OpRecord> MatMulRecords() {
  static constexpr OpRecord kRecords[] = {{Op::kMatMul, InferMatmul, VjpMatmul, RefMatmul}};
  return kRecords;
}

Value MatMul(Value a, Value b, bool transpose_a, bool transpose_b) {
  if (!a || !b) return {a.graph, -1};
  if (a.rank() > 2 && b.rank() == 2 && !transpose_a) {
    // One large product instead of many small ones.
    Shape out = a.shape();
    out.back() = transpose_b ? b.dim(0) : b.dim(1);
    return Reshape(MatMul(Reshape(a, {-1, a.dim(-1)}), b, false, transpose_b), out);
  }
  if (a.rank() > b.rank()) {
    Shape shape(a.shape().begin(), a.shape().end() - 2);
    shape.insert(shape.end(), b.shape().end() - 2, b.shape().end());
    b = Broadcast(b, shape);
  } else if (b.rank() > a.rank()) {
    Shape shape(b.shape().begin(), b.shape().end() - 2);
    shape.insert(shape.end(), a.shape().end() - 2, a.shape().end());
    a = Broadcast(a, shape);
  }
  const Value in[] = {a, b};
  return Emit(a.graph, Op::kMatMul, MatMulAttrs{transpose_a, transpose_b}, in)[0];
}

}  // namespace strata
