// The fused elementwise program: several elementwise ops, and reductions of their results, in one pass over memory.
// Passes make it; its decomposition is the ops of its instructions. No gradient: fusion comes after differentiation.
#include "engine/base/status.h"
#include "engine/ops/record.h"

namespace strata {
namespace {

using Store = FusedAttrs::Store;

// Elements of a result, from the space.
int64_t ResultSize(const FusedAttrs& at, Store store) {
  const int64_t all = NumElements(at.space), rows = NumElements(std::span(at.space).first(at.row_axes));
  switch (store) {
    case Store::kFull:
      return all;
    case Store::kSumAll:
      return 1;
    case Store::kSumRows:
      return rows;
    case Store::kSumColumns:
      return NumElements(std::span(at.space).subspan(at.row_axes));
  }
  return 0;
}

absl::StatusOr<std::vector<ValueInfo>> InferFused(const Attrs& attrs, std::span<const ValueInfo* const> in) {
  const auto& at = std::get<FusedAttrs>(attrs);
  for (const ValueInfo* v : in) {
    STRATA_ASSIGN_OR_RETURN(const Shape shape, BroadcastShape(v->shape, at.space));
    if (shape != at.space) return absl::InternalError("fused: an operand does not broadcast to the space");
  }
  for (size_t k = 0; k < at.code.size(); ++k) {
    const auto& c = at.code[k];
    const int made = static_cast<int>(in.size() + k);
    if (c.a < 0 || c.a >= made || c.b >= made || c.c >= made)
      return absl::InternalError("fused: a register is read too early");
  }
  std::vector<ValueInfo> out;
  for (size_t i = 0; i < at.results.size(); ++i) {
    if (NumElements(at.shapes[i]) != ResultSize(at, at.results[i].store)) {
      return absl::InternalError("fused: a result has the wrong size");
    }
    if (at.results[i].variable < 0) out.push_back({at.types[i], at.shapes[i]});
  }
  return out;
}

// Flat index of a broadcast operand for coordinates of the space.
int64_t IndexOf(const Shape& shape, const std::vector<int64_t>& at) {
  int64_t index = 0;
  const size_t lead = at.size() - shape.size();
  for (size_t d = 0; d < shape.size(); ++d) index = index * shape[d] + (shape[d] == 1 ? 0 : at[lead + d]);
  return index;
}

void RefFused(const Attrs& attrs, std::span<const RefTensor* const> in, std::span<RefTensor> out,
              std::span<const DType>) {
  const auto& at = std::get<FusedAttrs>(attrs);
  std::vector<RefTensor> regs(in.size() + at.code.size(), RefTensor{{1}, {0}});
  const std::vector<DType> f32 = {DType::kF32};
  const int64_t columns = NumElements(std::span(at.space).subspan(at.row_axes));
  ForEachIndex(at.space, [&](int64_t flat, const std::vector<int64_t>& where) {
    for (size_t i = 0; i < in.size(); ++i) regs[i].data[0] = in[i]->data[IndexOf(in[i]->shape, where)];
    for (size_t k = 0; k < at.code.size(); ++k) {
      const auto& ins = at.code[k];
      std::vector<const RefTensor*> operands{&regs[ins.a]};
      if (ins.b >= 0) operands.push_back(&regs[ins.b]);
      if (ins.c >= 0) operands.push_back(&regs[ins.c]);
      RecordOf(ins.op).reference(NoAttrs{}, operands, std::span(&regs[in.size() + k], 1), f32);
    }
    size_t next = 0;
    for (const auto& result : at.results) {
      if (result.variable >= 0) continue;
      const double v = regs[result.reg].data[0];
      RefTensor& y = out[next++];
      if (result.store == Store::kFull) y.data[flat] = v;
      if (result.store == Store::kSumAll) y.data[0] += v;
      if (result.store == Store::kSumRows) y.data[flat / columns] += v;
      if (result.store == Store::kSumColumns) y.data[flat % columns] += v;
    }
  });
}

}  // namespace

std::span<const OpRecord> FusedRecords() {
  static constexpr OpRecord kRecords[] = {{Op::kFused, InferFused, nullptr, RefFused}};
  return kRecords;
}

}  // namespace strata
