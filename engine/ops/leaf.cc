// Leaves: constants, iota, random numbers.
#include "engine/base/philox.h"
#include "engine/base/status.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata {
namespace {

using Results = absl::StatusOr<std::vector<ValueInfo>>;
using In = std::span<const ValueInfo* const>;
using RefIn = std::span<const RefTensor* const>;
using RefOut = std::span<RefTensor>;

Results InferConstant(const Attrs& attrs, In) {
  const Tensor& t = *std::get<LiteralAttrs>(attrs).value;
  return std::vector<ValueInfo>{{t.dtype(), t.shape()}};
}

void RefConstant(const Attrs& attrs, RefIn, RefOut out, std::span<const DType>) {
  const Tensor& t = *std::get<LiteralAttrs>(attrs).value;
  for (size_t i = 0; i < out[0].data.size(); ++i) out[0].data[i] = t.At(static_cast<int64_t>(i));
}

Results InferIota(const Attrs& attrs, In) {
  const auto& a = std::get<ShapeAttrs>(attrs);
  if (a.axis < 0 || a.axis >= static_cast<int64_t>(a.shape.size())) return InvalidArgument("iota: no axis ", a.axis);
  return std::vector<ValueInfo>{{a.dtype, a.shape}};
}

void RefIota(const Attrs& attrs, RefIn, RefOut out, std::span<const DType>) {
  const auto& a = std::get<ShapeAttrs>(attrs);
  ForEachIndex(a.shape, [&](int64_t i, const std::vector<int64_t>& at) { out[0].data[i] = at[a.axis]; });
}

Results InferRandom(const Attrs& attrs, In in) {
  if (in.size() != 1 || in[0]->dtype != DType::kI64 || in[0]->shape != Shape{2}) {
    return InvalidArgument("random: needs the random state i64[2]");
  }
  return std::vector<ValueInfo>{{DType::kF32, std::get<RandomAttrs>(attrs).shape}};
}

void RefRandom(const Attrs& attrs, RefIn in, RefOut out, std::span<const DType>) {
  const auto& a = std::get<RandomAttrs>(attrs);
  const uint64_t key = a.stream ^ static_cast<uint64_t>(in[0]->data[0]) * 0x9E3779B97F4A7C15;
  const uint64_t step = static_cast<uint64_t>(in[0]->data[1]);
  for (size_t i = 0; i < out[0].data.size(); ++i) {
    out[0].data[i] = Philox::ToUniform(Philox::Block(key, i / 4, step)[i % 4]);
  }
}

}  // namespace

std::span<const OpRecord> LeafRecords() {
  static constexpr OpRecord kRecords[] = {
      {Op::kConstant, InferConstant, nullptr, RefConstant},
      {Op::kIota, InferIota, nullptr, RefIota},
      {Op::kRandom, InferRandom, nullptr, RefRandom},
  };
  return kRecords;
}

Value Constant(Graph* g, Tensor value) {
  return Emit(g, Op::kConstant, LiteralAttrs{std::make_shared<const Tensor>(std::move(value))}, {})[0];
}

Value Scalar(Graph* g, double value, DType dtype) { return Constant(g, Tensor::Scalar(value, dtype)); }

Value Full(Graph* g, double value, const Shape& shape, DType dtype) {
  return Broadcast(Scalar(g, value, dtype), shape);
}

Value Iota(Graph* g, const Shape& shape, int axis, DType dtype) {
  if (axis < 0) axis += static_cast<int>(shape.size());
  return Emit(g, Op::kIota, ShapeAttrs{shape, axis, dtype}, {})[0];
}

Value RandomUniform(Value state, uint64_t stream, const Shape& shape) {
  const Value in[] = {state};
  return Emit(state.graph, Op::kRandom, RandomAttrs{stream, shape}, in)[0];
}

}  // namespace strata
