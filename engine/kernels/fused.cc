// Runs fused elementwise programs block by block: every register of a block stays in the first-level cache.
#include <cstring>

#include "engine/base/status.h"
#include "engine/kernels/fused_program.h"
#include "engine/kernels/parallel.h"

namespace strata {
namespace {

using Store = FusedAttrs::Store;
using Kind = FusedProgram::Kind;

constexpr size_t kMaxRegisters = 256;
// Elements from which operands do not stay in the second-level cache.
constexpr int64_t kPrefetchFrom = 65536;

class FusedKernel : public Kernel {
 public:
  FusedKernel(std::unique_ptr<FusedProgram> program, int threads, const char* name)
      : p_(std::move(program)), v_(GetVectorOps()), threads_(threads), name_(name) {
    column_sum_ = p_->rows_per_sum * p_->columns;
    prefetch_ = p_->rows * p_->columns >= kPrefetchFrom;
    for (const auto& r : p_->results) {
      partial_.push_back(scratch_);
      if (r.store == Store::kSumAll) scratch_ += Round(p_->num_chunks * static_cast<int64_t>(sizeof(double)));
      if (r.store == Store::kSumColumns && p_->num_chunks > 1) {
        scratch_ += Round(p_->num_chunks * column_sum_ * static_cast<int64_t>(sizeof(float)));
      }
    }
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
      RunChunk(args, 0);
    } else {
      ParallelFor(threads_, p_->num_chunks, [&](int64_t c, int) { RunChunk(args, c); });
    }
    Combine(args);
  }

 private:
  static int64_t Round(int64_t bytes) { return (bytes + 63) / 64 * 64; }

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

  void RunChunk(const KernelArgs& args, int64_t chunk) const {
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
    Finish(&f);
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

  // Points register i at the operand's elements of the block.
  void Bind(Frame* f, size_t i, int64_t row, int64_t rows, int64_t column, int64_t n) const {
    const auto& o = p_->operands[i];
    if (o.kind == Kind::kScalar) return;
    int64_t from = column;
    if (o.kind == Kind::kDense) {
      from = row * p_->columns + column;
    } else if (p_->tile_rows > 0) {
      if (o.kind != Kind::kColumns) Expand(f, i, row, rows);
      return;
    } else if (o.kind == Kind::kRow) {
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
    for (size_t i = 0; i < inputs; ++i) Bind(f, i, row, rows, column, n);
    const int64_t flat = row * p_->columns + column;
    if (prefetch_) PrefetchNext(*f, flat + n, n);
    for (size_t k = 0; k < p_->code.size(); ++k) {
      const auto& c = p_->code[k];
      if (c.direct >= 0) f->reg[inputs + k] = static_cast<float*>(Output(f->args, p_->results[c.direct])) + flat;
      c.fn(const_cast<float*>(f->reg[inputs + k]), f->reg[c.a], f->reg[c.b], f->reg[c.c], count);
    }
    for (size_t r = 0; r < p_->results.size(); ++r) StoreResult(f, r, row, rows, column, n);
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
    const float* times = r.times >= 0 ? f->reg[r.times] : nullptr;
    const size_t count = static_cast<size_t>(n);
    const int64_t flat = row * p_->columns + column;
    switch (r.store) {
      case Store::kFull:
        if (r.is_bool) {
          v_.to_bool(static_cast<uint8_t*>(Output(f->args, r)) + flat, x, count);
        } else if (!r.direct) {
          std::memmove(static_cast<float*>(Output(f->args, r)) + flat, x, count * sizeof(float));
        }
        return;
      case Store::kSumAll:
        f->totals[index] += v_.sum(x, count);
        return;
      case Store::kSumRows: {
        float* y = static_cast<float*>(Output(f->args, r));
        const int64_t length = rows == 1 ? n : p_->columns;
        for (int64_t i = 0; i < rows; ++i) {
          const size_t size = static_cast<size_t>(length);
          y[(row + i) / p_->rows_per_sum] +=
              times != nullptr ? v_.dot(x + i * length, times + i * length, size) : v_.sum(x + i * length, size);
        }
        return;
      }
      case Store::kSumColumns:
        AddColumns(f, index, x, times, row, rows, column, n);
        return;
    }
  }

  // Adds x, or x * times.
  void AddColumns(Frame* f, size_t index, const float* x, const float* times, int64_t row, int64_t rows, int64_t column,
                  int64_t n) const {
    const BlockFn add = v_.block[static_cast<int>(times != nullptr ? BlockOp::kMulAdd : BlockOp::kAdd)];
    const auto add_to = [&](float* sum, int64_t from, int64_t count) {
      if (times != nullptr) {
        add(sum, x + from, times + from, sum, static_cast<size_t>(count));
      } else {
        add(sum, sum, x + from, nullptr, static_cast<size_t>(count));
      }
    };
    const auto& r = p_->results[index];
    if (r.accumulator >= 0) return add_to(f->pool + r.accumulator * p_->block, 0, n);
    const int64_t length = rows == 1 ? n : p_->columns;
    for (int64_t i = 0; i < rows; ++i) {
      add_to(f->sums[index] + (row + i) % p_->rows_per_sum * p_->columns + column, i * length, length);
    }
  }

  void Finish(Frame* f) const {
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

  // Adds the chunks' partial sums, in order.
  void Combine(const KernelArgs& args) const {
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

  std::unique_ptr<FusedProgram> p_;
  const VectorOps& v_;
  int threads_;
  const char* name_;
  int64_t column_sum_;
  bool prefetch_;
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
  const size_t inputs = r.node.inputs.size();
  FusedAttrs attrs;
  const auto reg = [&](size_t i) { return i < inputs ? static_cast<int16_t>(i) : int16_t{-1}; };
  attrs.code.push_back({r.node.op, reg(0), reg(1), reg(2)});
  attrs.results.push_back({static_cast<int16_t>(inputs), Store::kFull});
  attrs.types.push_back(r.out(0).dtype);
  attrs.shapes.push_back(r.out(0).shape);
  attrs.space = r.out(0).shape;
  return MakeProgramKernel(r, attrs, "elementwise", why);
}

}  // namespace strata
