// Row lookup and its gradient.
#include "engine/base/status.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata {
namespace {

using In = std::span<const ValueInfo* const>;
using RefIn = std::span<const RefTensor* const>;

bool IsIndex(DType t) { return t == DType::kI32 || t == DType::kI64; }

absl::StatusOr<std::vector<ValueInfo>> InferGather(const Attrs&, In in) {
  if (in[0]->shape.empty() || !IsIndex(in[1]->dtype)) return InvalidArgument("gather: needs a table and integer ids");
  Shape y = in[1]->shape;
  y.insert(y.end(), in[0]->shape.begin() + 1, in[0]->shape.end());
  return std::vector<ValueInfo>{{in[0]->dtype, std::move(y)}};
}

absl::StatusOr<std::vector<ValueInfo>> InferScatter(const Attrs& attrs, In in) {
  if (!IsIndex(in[0]->dtype)) return InvalidArgument("scatter_add: needs integer ids");
  return std::vector<ValueInfo>{{in[1]->dtype, std::get<ShapeAttrs>(attrs).shape}};
}

// Ids outside the table read zeros and write nothing.
void RefGather(const Attrs&, RefIn in, std::span<RefTensor> out, std::span<const DType>) {
  const int64_t rows = in[0]->shape[0], width = rows == 0 ? 0 : NumElements(in[0]->shape) / rows;
  for (size_t i = 0; i < in[1]->data.size(); ++i) {
    const int64_t row = static_cast<int64_t>(in[1]->data[i]);
    if (row < 0 || row >= rows) continue;
    for (int64_t j = 0; j < width; ++j) out[0].data[i * width + j] = in[0]->data[row * width + j];
  }
}

void RefScatter(const Attrs&, RefIn in, std::span<RefTensor> out, std::span<const DType>) {
  const int64_t rows = out[0].shape[0], width = rows == 0 ? 0 : NumElements(out[0].shape) / rows;
  for (size_t i = 0; i < in[0]->data.size(); ++i) {
    const int64_t row = static_cast<int64_t>(in[0]->data[i]);
    if (row < 0 || row >= rows) continue;
    for (int64_t j = 0; j < width; ++j) out[0].data[row * width + j] += in[1]->data[i * width + j];
  }
}

std::vector<Value> VjpGather(Graph* g, NodeId n, std::span<const Value> dy) {
  const Value table = g->value(g->nodes()[n].inputs[0]), ids = g->value(g->nodes()[n].inputs[1]);
  const Value in[] = {ids, dy[0]};
  return {Emit(g, Op::kScatterAdd, ShapeAttrs{table.shape()}, in)[0], Value{}};
}

std::vector<Value> VjpScatter(Graph* g, NodeId n, std::span<const Value> dy) {
  return {Value{}, Gather(dy[0], g->value(g->nodes()[n].inputs[0]))};
}

}  // namespace

std::span<const OpRecord> GatherRecords() {
  static constexpr OpRecord kRecords[] = {
      {Op::kGather, InferGather, VjpGather, RefGather},
      {Op::kScatterAdd, InferScatter, VjpScatter, RefScatter},
  };
  return kRecords;
}

Value Gather(Value table, Value ids) {
  const Value in[] = {table, ids};
  return Emit(table.graph, Op::kGather, NoAttrs{}, in)[0];
}

Value ScatterAdd(Value ids, Value updates, int64_t rows) {
  if (!ids || !updates) return {ids.graph, -1};
  Shape shape(updates.shape().begin() + ids.rank(), updates.shape().end());
  shape.insert(shape.begin(), rows);
  const Value in[] = {ids, updates};
  return Emit(ids.graph, Op::kScatterAdd, ShapeAttrs{std::move(shape)}, in)[0];
}

Value PickLast(Value x, Value labels) {
  if (!x || !labels) return {x.graph, -1};
  const Value hit = Equal(Iota(x.graph, x.shape(), -1, labels.dtype()), ExpandDims(labels, -1));
  return ReduceSum(Select(hit, x, Like(x, 0)), {-1});
}

Value OneHot(Value labels, int64_t classes, DType dtype) {
  if (!labels) return labels;
  Shape shape = labels.shape();
  shape.push_back(classes);
  return Cast(Equal(Iota(labels.graph, shape, -1, labels.dtype()), ExpandDims(labels, -1)), dtype);
}

}  // namespace strata
