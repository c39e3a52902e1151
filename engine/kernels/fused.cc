// Runs fused elementwise programs block by block: every register of a block stays in the first-level cache.
#include <algorithm>
#include <cstring>

#include "engine/base/status.h"
#include "engine/graph/program.h"
#include "engine/kernels/fused_program.h"
#include "engine/kernels/parallel.h"

namespace strata {
namespace {

using Store = FusedAttrs::Store;
using Kind = FusedProgram::Kind;
using Term = FusedProgram::Term;

constexpr size_t kMaxRegisters = 256;
// Elements from which operands do not stay in the second-level cache.
constexpr int64_t kPrefetchFrom = 65536;

class FusedKernel : public Kernel {
 public:
  FusedKernel(std::unique_ptr<FusedProgram> program, int threads, const char* name)
      : p_(std::move(program)), v_(GetVectorOps()), threads_(threads), name_(name) {
    column_sum_ = p_->rows_per_sum * p_->columns;
    SortOperands();
    prefetch_ = p_->rows * p_->columns >= kPrefetchFrom;
    PlacePartialSums();
  }

  const char* name() const override { return name_; }
  int64_t scratch_bytes() const override { return scratch_; }

  // An operand that is read at the place where the result is written, and no later.
  bool CanOverwrite(int input, int output) const override {
    const auto& o = p_->operands[input];
    if (o.kind != Kind::kDense || o.is_bool) return false;
    for (size_t r = 0; r < p_->results.size(); ++r) {
      if (p_->results[r].output != output) continue;
      return p_->results[r].direct && p_->last_read[input] <= p_->WriterOf(r);
    }
    return false;
  }

  void Run(const KernelArgs& args) const override {
    if (p_->num_chunks == 1) {
      RunRows(args, 0);
    } else {
      ParallelFor(threads_, p_->num_chunks, [&](int64_t c, int) { RunRows(args, c); });
    }
    FinishRows(args);
  }

  bool CanCut(int64_t rows) const override { return p_->CanCut(rows); }
  void Cut(int64_t rows, int64_t rows_a_part) override {
    p_->Cut(rows, rows_a_part);
    PlacePartialSums();
  }

  // A part is a chunk.
  void RunRows(const KernelArgs& args, int64_t chunk) const override {
    alignas(64) float pool[FusedProgram::kPool];
    Frame f(args, chunk, pool);
    Prepare(&f);
    const int64_t begin = chunk * p_->grain, end = std::min(p_->units(), begin + p_->grain);
    if (p_->tile_rows > 0) {
      for (int64_t row = begin; row < end; row += p_->tile_rows) {
        const int64_t rows = std::min(p_->tile_rows, end - row);
        RunBlock(&f, row, rows, 0, rows * p_->columns);
      }
    } else {
      const int64_t segments = p_->segments();
      for (int64_t u = begin; u < end; ++u) {
        const int64_t row = u / segments, from = u % segments * p_->segment;
        const int64_t to = std::min(p_->columns, from + p_->segment);
        FillRows(&f, row, std::min(p_->block, to - from));
        for (int64_t c = from; c < to; c += p_->block) RunBlock(&f, row, 1, c, std::min(p_->block, to - c));
      }
    }
    FinishChunk(&f);
  }

  // Adds the chunks' partial sums, in order.
  void FinishRows(const KernelArgs& args) const override {
    const BlockFn add = v_.block[static_cast<int>(BlockOp::kAdd)];
    for (size_t i = 0; i < p_->results.size(); ++i) {
      const auto& r = p_->results[i];
      if (r.store == Store::kSumAll) {
        double total = 0;
        for (int64_t c = 0; c < p_->num_chunks; ++c) total += Partial<double>(args, i)[c];
        *static_cast<float*>(Output(args, r)) = static_cast<float>(total);
      } else if (r.store == Store::kSumColumns && p_->num_chunks > 1) {
        float* y = static_cast<float*>(Output(args, r));
        const float* partial = Partial<float>(args, i);
        std::memcpy(y, partial, static_cast<size_t>(column_sum_) * sizeof(float));
        for (int64_t c = 1; c < p_->num_chunks; ++c) {
          add(y, y, partial + c * column_sum_, nullptr, static_cast<size_t>(column_sum_));
        }
      }
    }
  }

 private:
  static int64_t Round(int64_t bytes) { return (bytes + 63) / 64 * 64; }

  // Operands and results by what a block has to do for them.
  void SortOperands() {
    const bool tiles = p_->tile_rows > 0;
    for (size_t i = 0; i < p_->operands.size(); ++i) {
      const auto& o = p_->operands[i];
      if (o.kind == Kind::kDense && !o.is_bool) {
        dense_.push_back(i);
      } else if (o.kind != Kind::kScalar && o.kind != (tiles ? Kind::kColumns : Kind::kRow)) {
        bound_.push_back(i);
      }
    }
    for (size_t k = 0; k < p_->code.size(); ++k) {
      if (p_->code[k].direct >= 0) direct_.push_back(k);
    }
    for (size_t r = 0; r < p_->results.size(); ++r) {
      if (!p_->results[r].direct && !p_->results[r].by_other) stored_.push_back(r);
    }
    // A sum may read a variable that another result replaces.
    std::stable_partition(stored_.begin(), stored_.end(),
                          [&](size_t r) { return p_->results[r].store != Store::kFull; });
  }

  void PlacePartialSums() {
    scratch_ = 0;
    partial_.clear();
    for (const auto& r : p_->results) {
      partial_.push_back(scratch_);
      if (r.store == Store::kSumAll) scratch_ += Round(p_->num_chunks * static_cast<int64_t>(sizeof(double)));
      if (r.store == Store::kSumColumns && p_->num_chunks > 1) {
        scratch_ += Round(p_->num_chunks * column_sum_ * static_cast<int64_t>(sizeof(float)));
      }
    }
  }

  struct Frame {
    const KernelArgs& args;
    int64_t chunk;
    float* pool;
    const float* reg[kMaxRegisters];
    float* sums[kMaxRegisters];  // of results that add up columns
    double totals[kMaxRegisters];

    Frame(const KernelArgs& a, int64_t c, float* p) : args(a), chunk(c), pool(p) {}
  };

  void* Output(const KernelArgs& args, const FusedProgram::Result& r) const {
    return r.variable >= 0 ? args.variables[r.variable] : args.out[r.output];
  }
  template <typename T>
  T* Partial(const KernelArgs& args, size_t r) const {
    return reinterpret_cast<T*>(static_cast<char*>(args.scratch) + partial_[r]);
  }

  // Expands what is the same in every block and clears the sums.
  void Prepare(Frame* f) const {
    const int64_t length =
        p_->tile_rows > 0 ? std::min(p_->tile_rows, p_->rows) * p_->columns : std::min(p_->block, p_->columns);
    for (size_t i = 0; i < p_->operands.size(); ++i) {
      const auto& o = p_->operands[i];
      if (o.single && o.kind == Kind::kScalar) f->reg[i] = static_cast<const float*>(f->args.in[i]);
      if (o.buffer < 0) continue;
      float* to = f->pool + o.buffer * p_->block;
      f->reg[i] = to;
      if (o.kind == Kind::kScalar) {
        std::fill_n(to, length, At(f->args.in[i], o.is_bool, 0));
      } else if (o.kind == Kind::kColumns && p_->tile_rows > 0) {
        for (int64_t r = 0; r * p_->columns < length; ++r)
          Load(to + r * p_->columns, f->args.in[i], o.is_bool, 0, p_->columns);
      }
    }
    for (size_t k = 0; k < p_->code.size(); ++k) {
      if (p_->code[k].buffer >= 0) f->reg[p_->operands.size() + k] = f->pool + p_->code[k].buffer * p_->block;
    }
    for (size_t r = 0; r < p_->results.size(); ++r) {
      const auto& result = p_->results[r];
      f->totals[r] = 0;
      if (result.store == Store::kSumColumns) {
        f->sums[r] = p_->num_chunks > 1 ? Partial<float>(f->args, r) + f->chunk * column_sum_
                                        : static_cast<float*>(Output(f->args, result));
        std::fill_n(f->sums[r], column_sum_, 0.0f);
        if (result.accumulator >= 0) std::fill_n(f->pool + result.accumulator * p_->block, p_->block, 0.0f);
      } else if (result.store == Store::kSumRows) {
        const int64_t begin = f->chunk * p_->grain, end = std::min(p_->rows, begin + p_->grain);
        float* y = static_cast<float*>(Output(f->args, result));
        std::fill(y + begin / p_->rows_per_sum, y + end / p_->rows_per_sum, 0.0f);
      }
    }
  }

  static float At(const void* x, bool is_bool, int64_t i) {
    if (is_bool) return static_cast<const uint8_t*>(x)[i] != 0 ? 1.0f : 0.0f;
    return static_cast<const float*>(x)[i];
  }
  void Load(float* to, const void* x, bool is_bool, int64_t from, int64_t n) const {
    if (is_bool) {
      v_.from_bool(to, static_cast<const uint8_t*>(x) + from, static_cast<size_t>(n));
    } else {
      std::memcpy(to, static_cast<const float*>(x) + from, static_cast<size_t>(n) * sizeof(float));
    }
  }

  int64_t RowOffset(const FusedProgram::Operand& o, int64_t row) const {
    if (p_->outer.size() == 1) return row * o.row_strides[0];
    int64_t offset = 0;
    for (size_t d = p_->outer.size(); d-- > 0;) {
      offset += row % p_->outer[d] * o.row_strides[d];
      row /= p_->outer[d];
    }
    return offset;
  }

  // Values that are the same all along a row, for blocks within one row.
  void FillRows(Frame* f, int64_t row, int64_t n) const {
    for (size_t i = 0; i < p_->operands.size(); ++i) {
      const auto& o = p_->operands[i];
      if (o.kind != Kind::kRow) continue;
      const int64_t offset = RowOffset(o, row);
      if (o.single) {
        f->reg[i] = static_cast<const float*>(f->args.in[i]) + offset;
      } else {
        std::fill_n(f->pool + o.buffer * p_->block, n, At(f->args.in[i], o.is_bool, offset));
      }
    }
  }

  void Expand(Frame* f, size_t i, int64_t row, int64_t rows) const {
    const auto& o = p_->operands[i];
    float* to = f->pool + o.buffer * p_->block;
    for (int64_t r = 0; r < rows; ++r, to += p_->columns) {
      const int64_t offset = RowOffset(o, row + r);
      if (o.kind == Kind::kRow) {
        std::fill_n(to, p_->columns, At(f->args.in[i], o.is_bool, offset));
      } else {
        Load(to, f->args.in[i], o.is_bool, offset, p_->columns);
      }
    }
  }

  // Points register i at the operand's elements of the block, of operands that are not the same in every block and not
  // laid out like the space.
  void Bind(Frame* f, size_t i, int64_t row, int64_t rows, int64_t column, int64_t n) const {
    const auto& o = p_->operands[i];
    int64_t from = column;
    if (o.kind == Kind::kDense) {
      from = row * p_->columns + column;
    } else if (p_->tile_rows > 0) {
      Expand(f, i, row, rows);
      return;
    } else if (o.kind == Kind::kGeneral) {
      from += RowOffset(o, row);
    }
    if (o.is_bool) {
      Load(f->pool + o.buffer * p_->block, f->args.in[i], true, from, n);
    } else {
      f->reg[i] = static_cast<const float*>(f->args.in[i]) + from;
    }
  }

  void RunBlock(Frame* f, int64_t row, int64_t rows, int64_t column, int64_t n) const {
    const size_t inputs = p_->operands.size(), count = static_cast<size_t>(n);
    const int64_t flat = row * p_->columns + column;
    for (const size_t i : dense_) f->reg[i] = static_cast<const float*>(f->args.in[i]) + flat;
    for (const size_t i : bound_) Bind(f, i, row, rows, column, n);
    for (const size_t k : direct_) {
      f->reg[inputs + k] = static_cast<float*>(Output(f->args, p_->results[p_->code[k].direct])) + flat;
    }
    if (prefetch_) PrefetchNext(*f, flat + n, n);
    const float** result = f->reg + inputs;
    for (const auto& c : p_->code) {
      c.fn(const_cast<float*>(*result++), f->reg[c.a], f->reg[c.b], f->reg[c.c], count);
    }
    for (const size_t r : stored_) StoreResult(f, r, row, rows, column, n);
  }

  // The next block is fetched while this one is computed: blocks are too short for the hardware to notice the streams.
  void PrefetchNext(const Frame& f, int64_t flat, int64_t n) const {
    for (size_t i = 0; i < p_->operands.size(); ++i) {
      const auto& o = p_->operands[i];
      if (o.kind != Kind::kDense) continue;
      const char* from = static_cast<const char*>(f.args.in[i]) + flat * (o.is_bool ? 1 : 4);
      const char* to = from + n * (o.is_bool ? 1 : 4);
      for (; from < to; from += 64) __builtin_prefetch(from, 0);
    }
    for (const auto& r : p_->results) {
      if (r.store != Store::kFull || r.is_bool) continue;
      const float* from = static_cast<const float*>(Output(f.args, r)) + flat;
      for (const float* to = from + n; from < to; from += 16) __builtin_prefetch(from, 1);
    }
  }

  void StoreResult(Frame* f, size_t index, int64_t row, int64_t rows, int64_t column, int64_t n) const {
    const auto& r = p_->results[index];
    const float* x = f->reg[r.reg];
    const size_t count = static_cast<size_t>(n);
    const int64_t flat = row * p_->columns + column;
    switch (r.store) {
      case Store::kFull:
        if (r.is_bool) {
          v_.to_bool(static_cast<uint8_t*>(Output(f->args, r)) + flat, x, count);
        } else {
          std::memmove(static_cast<float*>(Output(f->args, r)) + flat, x, count * sizeof(float));
        }
        return;
      case Store::kSumAll:
        f->totals[index] += SumOf(*f, r, 0, count);
        return;
      case Store::kSumRows:
        AddRows(f, r, row, rows, rows == 1 ? n : p_->columns);
        return;
      case Store::kSumColumns:
        AddColumns(f, index, row, rows, column, n);
        return;
    }
  }

  bool IsSingle(int16_t reg) const {
    return reg >= 0 && reg < static_cast<int16_t>(p_->operands.size()) && p_->operands[reg].single;
  }

  // Of `n` elements of the block.
  float SumOf(const Frame& f, const FusedProgram::Result& r, int64_t from, size_t n) const {
    const float* x = f.reg[r.reg] + from;
    switch (r.term) {
      case Term::kValue:
        return v_.sum(x, n);
      case Term::kProduct:
        return v_.dot(x, f.reg[r.with] + from, n);
      case Term::kSquare:
        return IsSingle(r.with) ? v_.distance_to_one(x, f.reg[r.with], n) : v_.distance(x, f.reg[r.with] + from, n);
    }
    return 0;
  }

  void AddRows(Frame* f, const FusedProgram::Result& r, int64_t row, int64_t rows, int64_t length) const {
    float* y = static_cast<float*>(Output(f->args, r));
    float* beside = r.beside >= 0 ? static_cast<float*>(Output(f->args, p_->results[r.beside])) : nullptr;
    const size_t n = static_cast<size_t>(length);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t at = (row + i) / p_->rows_per_sum, from = i * length;
      if (beside == nullptr) {
        y[at] += SumOf(*f, r, from, n);
      } else {
        float sum;
        y[at] += v_.dot_and_sum(f->reg[r.reg] + from, f->reg[r.with] + from, n, &sum);
        beside[at] += sum;
      }
    }
  }

  void AddColumns(Frame* f, size_t index, int64_t row, int64_t rows, int64_t column, int64_t n) const {
    const auto& r = p_->results[index];
    const bool single = IsSingle(r.with);
    const int op = static_cast<int>(r.term == Term::kValue     ? BlockOp::kAdd
                                    : r.term == Term::kProduct ? BlockOp::kMulAdd
                                                               : BlockOp::kSubSquareAdd);
    const BlockFn add = single ? v_.single[op][2] : v_.block[op];
    const auto add_to = [&](float* sum, float* beside, int64_t from, int64_t length) {
      const float *x = f->reg[r.reg] + from, *y = r.with < 0 ? nullptr : f->reg[r.with] + (single ? 0 : from);
      const size_t count = static_cast<size_t>(length);
      if (beside != nullptr) {
        v_.add_products_and_values(sum, beside, x, y, count);
      } else if (y != nullptr) {
        add(sum, x, y, sum, count);
      } else {
        add(sum, sum, x, nullptr, count);
      }
    };
    const bool two = r.beside >= 0;
    if (r.accumulator >= 0) {
      return add_to(f->pool + r.accumulator * p_->block,
                    two ? f->pool + p_->results[r.beside].accumulator * p_->block : nullptr, 0, n);
    }
    const int64_t length = rows == 1 ? n : p_->columns;
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t at = (row + i) % p_->rows_per_sum * p_->columns + column;
      add_to(f->sums[index] + at, two ? f->sums[r.beside] + at : nullptr, i * length, length);
    }
  }

  void FinishChunk(Frame* f) const {
    const BlockFn add = v_.block[static_cast<int>(BlockOp::kAdd)];
    for (size_t i = 0; i < p_->results.size(); ++i) {
      const auto& r = p_->results[i];
      if (r.store == Store::kSumAll) Partial<double>(f->args, i)[f->chunk] = f->totals[i];
      if (r.accumulator < 0) continue;
      for (int64_t row = 0; row < p_->tile_rows; ++row) {
        add(f->sums[i], f->sums[i], f->pool + r.accumulator * p_->block + row * p_->columns, nullptr,
            static_cast<size_t>(p_->columns));
      }
    }
  }

  std::unique_ptr<FusedProgram> p_;
  const VectorOps& v_;
  int threads_;
  const char* name_;
  int64_t column_sum_;
  bool prefetch_;
  std::vector<size_t> dense_;   // operands laid out like the space
  std::vector<size_t> bound_;   // operands that take more than a pointer
  std::vector<size_t> direct_;  // instructions that write a result in place
  std::vector<size_t> stored_;  // the other results
  int64_t scratch_ = 0;
  std::vector<int64_t> partial_;  // by result: offset of its chunks' sums in the scratch memory
};

}  // namespace

std::unique_ptr<Kernel> MakeProgramKernel(const KernelRequest& r, const FusedAttrs& program, const char* name,
                                          std::string* why) {
  if (r.node.inputs.size() + program.code.size() > kMaxRegisters || program.results.size() > kMaxRegisters) {
    *why = absl::StrCat(name, ": too many registers");
    return nullptr;
  }
  std::unique_ptr<FusedProgram> compiled = CompileFused(r, program, why);
  if (compiled == nullptr) return nullptr;
  return std::make_unique<FusedKernel>(std::move(compiled), r.threads, name);
}

std::unique_ptr<Kernel> MakeFusedKernel(const KernelRequest& r, std::string* why) {
  return MakeProgramKernel(r, r.node.as<FusedAttrs>(), "fused", why);
}

std::unique_ptr<Kernel> MakeElementwiseKernel(const KernelRequest& r, std::string* why) {
  return MakeProgramKernel(r, *ProgramOf(r.graph, r.node), "elementwise", why);
}

}  // namespace strata
