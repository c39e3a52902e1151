#include "engine/kernels/fused_program.h"

#include <algorithm>

#include "engine/base/status.h"
#include "engine/kernels/broadcast.h"
#include "engine/kernels/parallel.h"

namespace strata {
namespace {

using Store = FusedAttrs::Store;
using Kind = FusedProgram::Kind;
using Term = FusedProgram::Term;

constexpr int64_t kMaxBlock = 512;
constexpr int64_t kSegment = 8192;
// Elements times instructions of one chunk: about 10 microseconds.
constexpr int64_t kChunkWork = 131072;

bool IsSupported(DType t) { return t == DType::kF32 || t == DType::kBool; }

int64_t CostOf(Op op) {
  switch (op) {
    case Op::kExp:
    case Op::kExpm1:
    case Op::kLog:
    case Op::kLog1p:
    case Op::kSigmoid:
    case Op::kTanh:
    case Op::kErf:
      return 12;
    case Op::kPow:
      return 60;
    case Op::kDiv:
    case Op::kSqrt:
      return 4;
    default:
      return 1;
  }
}

class Compiler {
 public:
  Compiler(const KernelRequest& r, const FusedAttrs& attrs)
      : r_(r), attrs_(attrs), p_(std::make_unique<FusedProgram>()) {}

  std::unique_ptr<FusedProgram> Compile(std::string* why) {
    for (size_t i = 0; i < r_.node.inputs.size(); ++i) {
      if (!IsSupported(r_.in(static_cast<int>(i)).dtype)) return Decline(why, "an operand is no f32 or bool");
    }
    for (const DType t : attrs_.types) {
      if (!IsSupported(t)) return Decline(why, "a result is no f32 or bool");
    }
    PlaceSpace();
    BindInstructions();
    BindResults();
    AssignBuffers();
    if (p_->num_buffers > FusedProgram::kPool / 16) return Decline(why, "too many registers");
    CutWork();
    return std::move(p_);
  }

 private:
  static std::unique_ptr<FusedProgram> Decline(std::string* why, const char* reason) {
    *why = absl::StrCat("fused: ", reason);
    return nullptr;
  }

  bool Has(Store store) const {
    return std::any_of(attrs_.results.begin(), attrs_.results.end(), [&](const auto& r) { return r.store == store; });
  }

  void PlaceSpace() {
    const bool sums = Has(Store::kSumRows) || Has(Store::kSumColumns);
    std::vector<Shape> strides;
    for (int i = 0; i < static_cast<int>(r_.node.inputs.size()); ++i) {
      strides.push_back(BroadcastStrides(r_.in(i).shape, attrs_.space, r_.RowsApart(i)));
    }
    // A dense witness keeps the space's own order of axes while joining.
    strides.push_back(Strides(attrs_.space));
    for (size_t d = 0; d < attrs_.space.size(); ++d) {
      if (attrs_.space[d] == 1) strides.back()[d] = 0;
    }
    Collapsed c = Collapse(attrs_.space, strides, sums ? static_cast<size_t>(attrs_.row_axes) : 0);
    if (sums && c.split == c.space.size()) {  // every column is one element
      c.space.push_back(1);
      for (Shape& s : c.strides) s.push_back(0);
    }
    p_->outer.assign(c.space.begin(), c.space.end() - 1);
    p_->rows = NumElements(p_->outer);
    p_->columns = c.space.back();
    p_->rows_per_sum = sums ? NumElements(std::span(p_->outer).subspan(c.split)) : 1;
    for (size_t i = 0; i < r_.node.inputs.size(); ++i) {
      p_->operands.push_back(Classify(c.strides[i], c.strides.back()));
      p_->operands.back().is_bool = r_.in(static_cast<int>(i)).dtype == DType::kBool;
    }
  }

  FusedProgram::Operand Classify(const Shape& strides, const Shape& dense) const {
    const auto zero = [](int64_t s) { return s == 0; };
    const bool repeats_rows = std::all_of(strides.begin(), strides.end() - 1, zero);
    const bool repeats_columns = strides.back() == 0;
    FusedProgram::Operand o{Kind::kGeneral, false, Shape(strides.begin(), strides.end() - 1)};
    if (strides == dense) {
      o.kind = Kind::kDense;
    } else if (repeats_columns) {
      o.kind = repeats_rows ? Kind::kScalar : Kind::kRow;
    } else if (repeats_rows) {
      o.kind = Kind::kColumns;
    }
    return o;
  }

  // Binds instructions. Several that one primitive computes become one.
  void BindInstructions() {
    const size_t inputs = r_.node.inputs.size();
    CountReaders();
    map_.resize(inputs + attrs_.code.size());
    for (size_t i = 0; i < inputs; ++i) map_[i] = static_cast<int16_t>(i);
    std::vector<Match> matches(attrs_.code.size());
    std::vector<bool> skip(attrs_.code.size(), false);
    for (const auto& r : attrs_.results) {
      const Summed summed = SummedBy(r);
      if (summed.term != Term::kValue) skip[r.reg - inputs] = true;
      if (summed.term == Term::kSquare) skip[Code(r.reg).a - inputs] = true;
    }
    for (size_t k = attrs_.code.size(); k-- > 0;) {  // readers first: longer matches win
      if (skip[k]) continue;
      matches[k] = MatchAt(attrs_.code[k]);
      for (const int16_t reg : matches[k].absorbed) skip[reg - inputs] = true;
    }
    for (size_t k = 0; k < attrs_.code.size(); ++k) {
      if (skip[k]) continue;
      const Match& m = matches[k];
      const int16_t ra = map_[m.a];
      map_[inputs + k] = static_cast<int16_t>(inputs + p_->code.size());
      p_->code.push_back({m.op, nullptr,
                          m.c >= 0   ? 3
                          : m.b >= 0 ? 2
                                     : 1,
                          ra, m.b >= 0 ? map_[m.b] : ra, m.c >= 0 ? map_[m.c] : ra, -1});
    }
  }

  void CountReaders() {
    readers_.assign(r_.node.inputs.size() + attrs_.code.size(), 0);
    for (const auto& c : attrs_.code) {
      for (int16_t reg : {c.a, c.b, c.c}) {
        if (reg >= 0) ++readers_[reg];
      }
    }
    for (const auto& r : attrs_.results) readers_[r.reg] += 2;
  }

  struct Summed {
    Term term = Term::kValue;
    int16_t x = -1, y = -1;  // registers of the node
  };

  // A product, or the square of a difference, that is only summed is computed by the sum.
  Summed SummedBy(const FusedAttrs::Result& r) const {
    const int16_t inputs = static_cast<int16_t>(r_.node.inputs.size());
    if (r.store == Store::kFull || r.variable >= 0 || r.reg < inputs || readers_[r.reg] != 2 ||
        Code(r.reg).op != Op::kMul) {
      return {Term::kValue, r.reg, -1};
    }
    const FusedAttrs::Instruction& c = Code(r.reg);
    if (c.a != c.b) return {Term::kProduct, c.a, c.b};
    if (c.a >= inputs && readers_[c.a] == 2 && Code(c.a).op == Op::kSub) {
      return {Term::kSquare, Code(c.a).a, Code(c.a).b};
    }
    return {Term::kValue, r.reg, -1};
  }

  bool IsZero(int16_t reg) const {
    if (reg >= static_cast<int16_t>(r_.node.inputs.size())) return false;
    const Node& n = r_.graph.producer(r_.node.inputs[reg]);
    return n.op == Op::kConstant && NumElements(r_.in(reg).shape) == 1 && n.as<LiteralAttrs>().value->At(0) == 0;
  }

  // An instruction as a primitive, and the registers whose instructions become a part of it.
  struct Match {
    BlockOp op;
    int16_t a = -1, b = -1, c = -1;
    std::vector<int16_t> absorbed;
  };

  const FusedAttrs::Instruction& Code(int16_t reg) const { return attrs_.code[reg - r_.node.inputs.size()]; }

  // Whether `reg` is the result of an `op` that nothing else reads.
  bool IsOwn(int16_t reg, Op op) const {
    return reg >= static_cast<int16_t>(r_.node.inputs.size()) && readers_[reg] == 1 && Code(reg).op == op;
  }

  Match MatchAt(const FusedAttrs::Instruction& c) const {
    if (c.op == Op::kAdd && c.a != c.b) {
      for (const auto& [product, other] : {std::pair(c.a, c.b), std::pair(c.b, c.a)}) {
        if (IsOwn(product, Op::kMul)) return MatchSum(product, other);
      }
    } else if (c.op == Op::kSub && c.a != c.b) {
      if (IsOwn(c.b, Op::kMul)) return {BlockOp::kNegMulAdd, Code(c.b).a, Code(c.b).b, c.a, {c.b}};
      if (IsOwn(c.a, Op::kMul)) return {BlockOp::kMulSub, Code(c.a).a, Code(c.a).b, c.b, {c.a}};
      if (IsOwn(c.b, Op::kDiv)) return {BlockOp::kSubDiv, Code(c.b).a, Code(c.b).b, c.a, {c.b}};
    } else if (c.op == Op::kMul && c.a == c.b) {
      if (readers_[c.a] == 2 && c.a >= static_cast<int16_t>(r_.node.inputs.size()) && Code(c.a).op == Op::kSub) {
        return {BlockOp::kSubSquare, Code(c.a).a, Code(c.a).b, -1, {c.a}};
      }
    } else if (c.op == Op::kMul) {
      for (const auto& [difference, factor] : {std::pair(c.a, c.b), std::pair(c.b, c.a)}) {
        if (IsOwn(difference, Op::kSub))
          return {BlockOp::kSubMul, Code(difference).a, Code(difference).b, factor, {difference}};
      }
    } else if (c.op == Op::kSelect && IsOwn(c.a, Op::kLessEqual) && IsZero(c.b) && IsZero(Code(c.a).b)) {
      // select(x <= 0, 0, y)
      const int16_t x = Code(c.a).a;
      return {x == c.c ? BlockOp::kRelu : BlockOp::kReluGrad, x, c.c, -1, {c.a}};
    }
    return {BlockOpOf(c.op), c.a, c.b, c.c, {}};
  }

  // product + other.
  Match MatchSum(int16_t product, int16_t other) const {
    const int16_t f[2] = {Code(product).a, Code(product).b};
    for (const int i : {0, 1}) {
      if (f[0] == f[1]) break;
      const int16_t x = f[i], factor = f[1 - i];
      if (IsOwn(x, Op::kSqrt)) return {BlockOp::kSqrtMulAdd, Code(x).a, factor, other, {product, x}};
      if (!IsOwn(x, Op::kSub) || Code(x).b != other) continue;
      const int16_t target = Code(x).a;
      if (IsOwn(target, Op::kMul) && Code(target).a == Code(target).b) {
        return {BlockOp::kLerpSquare, Code(target).a, factor, other, {product, x, target}};
      }
      return {BlockOp::kLerp, target, factor, other, {product, x}};
    }
    return {BlockOp::kMulAdd, f[0], f[1], other, {product}};
  }

  void BindResults() {
    int32_t next = 0;
    for (size_t i = 0; i < attrs_.results.size(); ++i) {
      const auto& r = attrs_.results[i];
      const int32_t output = r.variable < 0 ? next++ : -1;
      const Summed summed = SummedBy(r);
      p_->results.push_back({map_[summed.x], r.store, r.variable, output, attrs_.types[i] == DType::kBool});
      p_->results.back().term = summed.term;
      if (summed.y >= 0) p_->results.back().with = map_[summed.y];
    }
    for (size_t i = 0; i < p_->results.size(); ++i) PairSums(i);
    const int32_t end = static_cast<int32_t>(p_->code.size());
    p_->last_read.assign(p_->operands.size() + p_->code.size(), -1);
    for (int32_t k = 0; k < end; ++k) {
      for (int16_t reg : {p_->code[k].a, p_->code[k].b, p_->code[k].c}) p_->last_read[reg] = k;
    }
    for (const auto& r : p_->results) {
      p_->last_read[r.reg] = end;
      if (r.with >= 0) p_->last_read[r.with] = end;
    }
    for (size_t i = 0; i < p_->results.size(); ++i) MakeDirect(i);
  }

  // A sum of products and a sum of one of the factors are taken together.
  void PairSums(size_t i) {
    auto& r = p_->results[i];
    if (r.term != Term::kProduct || r.store == Store::kSumAll) return;
    for (size_t j = 0; j < p_->results.size(); ++j) {
      auto& other = p_->results[j];
      if (other.store != r.store || other.term != Term::kValue || other.by_other) continue;
      if (other.reg != r.reg && other.reg != r.with) continue;
      if (other.reg == r.with) std::swap(r.reg, r.with);
      r.beside = static_cast<int16_t>(j);
      other.by_other = true;
      return;
    }
  }

  // Lets the instruction write the result's memory itself, unless a later reader still needs what is there.
  void MakeDirect(size_t i) {
    FusedProgram::Result& r = p_->results[i];
    const int32_t inputs = static_cast<int32_t>(p_->operands.size());
    if (r.store != Store::kFull || r.is_bool || r.reg < inputs) return;
    const int32_t k = r.reg - inputs;
    if (p_->code[k].direct >= 0) return;
    if (r.variable >= 0) {
      for (int32_t o = 0; o < inputs; ++o) {
        if (ReadsVariable(r_.node.inputs[o], r.variable) && p_->last_read[o] > k) return;
      }
    }
    p_->code[k].direct = static_cast<int16_t>(i);
    r.direct = true;
  }

  bool ReadsVariable(ValueId v, int32_t variable) const {
    while (r_.graph.producer(v).op == Op::kReshape) v = r_.graph.producer(v).inputs[0];
    const Node& n = r_.graph.producer(v);
    return n.op == Op::kVariable && n.as<VariableAttrs>().index == variable;
  }

  // Rows shorter than a part of a block are worked on several at a time, if the registers leave blocks that long. Rows
  // that stand apart would have to be copied together: longer ones are read where they are.
  void AssignBuffers() {
    constexpr int64_t kLeastApart = 64;
    bool apart = false;
    for (int i = 0; i < static_cast<int>(r_.node.inputs.size()); ++i) apart = apart || r_.RowsApart(i) > 0;
    if (!p_->outer.empty() && p_->columns > 0 && p_->columns <= kMaxBlock / 4 &&
        !(apart && p_->columns >= kLeastApart)) {
      AssignBuffers(true);
      p_->tile_rows = p_->block / p_->columns;
    }
    if (p_->tile_rows == 0) AssignBuffers(false);
  }

  // Chooses each instruction's primitive: one that takes single numbers for the operands that are the same in a whole
  // block, where there is one. Other readers need such an operand as a block.
  void FindSingles(bool tiles) {
    const VectorOps& ops = GetVectorOps();
    for (auto& o : p_->operands) o.single = !o.is_bool && (o.kind == Kind::kScalar || (o.kind == Kind::kRow && !tiles));
    const auto single = [&](int16_t reg) {
      return reg >= 0 && reg < static_cast<int16_t>(p_->operands.size()) && p_->operands[reg].single;
    };
    const auto expand = [&](int16_t reg) {
      if (single(reg)) p_->operands[reg].single = false;
    };
    for (const auto& r : p_->results) {
      expand(r.reg);
      if (r.term != Term::kSquare) expand(r.with);
    }
    for (bool changed = true; changed;) {
      changed = false;
      for (auto& c : p_->code) {
        const int mask =
            (single(c.a) ? 1 : 0) + (c.operands > 1 && single(c.b) ? 2 : 0) + (c.operands > 2 && single(c.c) ? 4 : 0);
        const int op = static_cast<int>(c.op);
        c.fn = mask == 0 ? ops.block[op] : ops.single[op][mask];
        if (c.fn != nullptr) continue;
        for (int16_t reg : {c.a, c.b, c.c}) expand(reg);
        changed = true;
      }
    }
  }

  // The block's length depends on the number of buffers, and which operands need one on whether blocks are tiles of
  // rows.
  void AssignBuffers(bool tiles) {
    FindSingles(tiles);
    p_->num_buffers = 0;
    int32_t& next = p_->num_buffers;
    for (auto& o : p_->operands) {
      const bool in_place =
          o.kind == Kind::kDense || (!tiles && (o.kind == Kind::kColumns || o.kind == Kind::kGeneral));
      o.buffer = (!in_place || o.is_bool) && !o.single ? next++ : -1;
    }
    for (auto& r : p_->results) {
      r.accumulator = r.store == Store::kSumColumns && tiles && p_->rows_per_sum == 1 ? next++ : -1;
    }
    std::vector<int32_t> free;
    const int32_t inputs = static_cast<int32_t>(p_->operands.size()), end = static_cast<int32_t>(p_->code.size());
    for (int32_t k = 0; k < end; ++k) {
      auto& c = p_->code[k];
      c.buffer = -1;
      for (int32_t j = 0; j < k; ++j) {
        if (p_->last_read[inputs + j] == k && p_->code[j].buffer >= 0) free.push_back(p_->code[j].buffer);
      }
      if (c.direct >= 0) continue;
      if (free.empty()) {
        c.buffer = next++;
      } else {
        c.buffer = free.back();
        free.pop_back();
      }
      if (p_->last_read[inputs + k] < 0) free.push_back(c.buffer);
    }
    const int64_t fits = FusedProgram::kPool / std::max<int64_t>(next, 1) / 16 * 16;
    p_->block = std::clamp<int64_t>(fits, 16, kMaxBlock);
  }

  void CutWork() {
    int64_t cost = 1;
    for (const auto& c : attrs_.code) cost += CostOf(c.op);
    const int64_t elements = std::max<int64_t>(kChunkWork / cost, 1024);
    const bool whole_rows = Has(Store::kSumRows) || Has(Store::kSumColumns);
    p_->segment = whole_rows || p_->tile_rows > 0 ? std::max<int64_t>(p_->columns, 1) : kSegment;
    const int64_t unit = std::max<int64_t>(std::min(p_->segment, p_->columns), 1);
    p_->grain = std::max<int64_t>(elements / unit, 1);
    if (Has(Store::kSumColumns)) p_->grain = std::max<int64_t>(p_->grain, 8);
    if (p_->tile_rows > 0) p_->grain = (p_->grain + p_->tile_rows - 1) / p_->tile_rows * p_->tile_rows;
    p_->grain = (p_->grain + p_->rows_per_sum - 1) / p_->rows_per_sum * p_->rows_per_sum;
    while (p_->units() / p_->grain >= WorkerPool::kMaxChunks) p_->grain *= 2;
    p_->num_chunks = std::max<int64_t>((p_->units() + p_->grain - 1) / p_->grain, 1);
  }

  const KernelRequest& r_;
  const FusedAttrs& attrs_;
  std::unique_ptr<FusedProgram> p_;
  std::vector<int16_t> map_;  // registers of the node to registers of the program
  std::vector<int> readers_;  // by register of the node; results count twice
};

}  // namespace

bool FusedProgram::CanCut(int64_t count) const {
  if (count <= 0 || rows * columns == 0 || rows * columns % count != 0) return false;
  return (tile_rows == 0 && rows == 1) || rows * columns / count % columns == 0;
}

void FusedProgram::Cut(int64_t count, int64_t rows_a_chunk) {
  const int64_t size = rows * columns / count;
  if (tile_rows == 0 && rows == 1) {  // all axes were joined
    segment = size * rows_a_chunk;
    grain = 1;
  } else {
    segment = columns;
    grain = size / columns * rows_a_chunk;
  }
  num_chunks = (units() + grain - 1) / grain;
}

int32_t FusedProgram::WriterOf(size_t r) const {
  for (size_t k = 0; k < code.size(); ++k) {
    if (code[k].direct == static_cast<int16_t>(r)) return static_cast<int32_t>(k);
  }
  return -1;
}

std::unique_ptr<FusedProgram> CompileFused(const KernelRequest& r, const FusedAttrs& attrs, std::string* why) {
  return Compiler(r, attrs).Compile(why);
}

}  // namespace strata
