// The fused elementwise program: several elementwise ops, and reductions of their results, in one pass over memory. Passes make
// it; its decomposition is the ops of its instructions. No gradient: fusion comes after differentiation.
#include "engine/base/status.h"
#include "engine/ops/record.h"

namespace strata {
namespace {

using Store = FusedAttrs::Store;
using Spread = FusedAttrs::Spread;

absl::StatusOr<std::vector<ValueInfo>> Infer(const Attrs& attrs, std::span<const ValueInfo* const> in) {
  const auto& at = std::get<FusedAttrs>(attrs);
  if (in.size() != at.spread.size()) return absl::InternalError("fused: one spread for each operand");
  for (size_t i = 0; i < in.size(); ++i) {
    const int64_t want = at.spread[i] == Spread::kFull        ? at.rows * at.columns
                         : at.spread[i] == Spread::kScalar    ? 1
                         : at.spread[i] == Spread::kPerColumn ? at.columns
                                                              : at.rows;
    if (NumElements(in[i]->shape) != want) return absl::InternalError("fused: an operand has the wrong size");
  }
  std::vector<ValueInfo> out;
  for (size_t i = 0; i < at.results.size(); ++i) {
    if (at.results[i].variable < 0) out.push_back({at.types[i], at.shapes[i]});
  }
  return out;
}

int64_t IndexOf(Spread s, int64_t row, int64_t column, int64_t columns) {
  switch (s) {
    case Spread::kFull:
      return row * columns + column;
    case Spread::kScalar:
      return 0;
    case Spread::kPerColumn:
      return column;
    case Spread::kPerRow:
      return row;
  }
  return 0;
}

void Reference(const Attrs& attrs, std::span<const RefTensor* const> in, std::span<RefTensor> out, std::span<const DType>) {
  const auto& at = std::get<FusedAttrs>(attrs);
  std::vector<RefTensor> regs(in.size() + at.code.size(), RefTensor{{1}, {0}});
  const std::vector<DType> f32 = {DType::kF32};
  for (int64_t r = 0; r < at.rows; ++r) {
    for (int64_t c = 0; c < at.columns; ++c) {
      for (size_t i = 0; i < in.size(); ++i) regs[i].data[0] = in[i]->data[IndexOf(at.spread[i], r, c, at.columns)];
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
        if (result.store == Store::kFull) y.data[r * at.columns + c] = v;
        if (result.store == Store::kSumAll) y.data[0] += v;
        if (result.store == Store::kSumRows) y.data[r] += v;
        if (result.store == Store::kSumColumns) y.data[c] += v;
      }
    }
  }
}

}  // namespace

std::span<const OpRecord> FusedRecords() {
  static constexpr OpRecord kRecords[] = {{Op::kFused, Infer, nullptr, Reference}};
  return kRecords;
}

}  // namespace strata
