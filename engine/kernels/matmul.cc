// Matrix products: our own kernel for small and thin ones, oneDNN for the rest. A second operand that never changes is
// packed once, when the kernel is made; one that is steady over many runs, before them.
#include <limits>

#include "engine/kernels/onednn.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/small_matmul.h"
#include "engine/kernels/vector_ops.h"

namespace strata {
namespace {

using dnnl::memory;

struct Product {
  int64_t batch, m, k, n;
  bool ta, tb, bias, relu;
};

Product ProductOf(const KernelRequest& r) {
  const auto& at = r.node.as<MatMulAttrs>();
  const Shape &a = r.in(0).shape, &y = r.out(0).shape;
  const size_t rank = a.size();
  return {NumElements(std::span(a).first(rank - 2)),
          y[rank - 2],
          at.transpose_a ? a[rank - 2] : a[rank - 1],
          y[rank - 1],
          at.transpose_a,
          at.transpose_b,
          at.bias,
          at.relu};
}

// Elements of a matrix from which a product of one row is shared by threads, and the columns of one share.
constexpr int64_t kLeastShared = 1 << 16, kSharedColumns = 128;

class SmallMatMulKernel : public Kernel {
 public:
  SmallMatMulKernel(const Product& p, int threads, const Tensor* constant_b, bool steady_b)
      : p_(p), fn_(GetSmallMatMul()), threads_(threads) {
    shape_ = {.m = p.m,
              .k = p.k,
              .n = p.n,
              .a_row = p.ta ? 1 : p.k,
              .a_column = p.ta ? p.m : 1,
              .b_row = p.tb ? 1 : p.n,
              .b_column = p.tb ? p.k : 1,
              .relu = p.relu};
    swapped_ = p.n == 1 && p.m > 1;
    if (swapped_) {  // y is a column: its transpose is one row, b^T a^T
      shape_.m = 1;
      shape_.n = p.m;
      shape_.a_row = p.k;
      shape_.a_column = 1;
      shape_.b_row = p.ta ? p.m : 1;
      shape_.b_column = p.ta ? 1 : p.k;
      shape_.one_bias = true;
    }
    // Long single rows are shared by the threads, in fixed ranges of columns.
    const bool shared = threads > 1 && p.batch == 1 && shape_.m == 1 && p.k * shape_.n >= kLeastShared;
    columns_ = shared ? kSharedColumns : shape_.n;
    pack_ = PackSize(shape_);
    if (pack_ == 0 || p.batch > 1 || (constant_b == nullptr && !steady_b)) return;
    plain_ = shape_;
    shape_.b_row = (shape_.n + 15) / 16 * 16;
    shape_.b_column = 1;
    pack_ = 0;
    steady_ = constant_b == nullptr;
    if (constant_b != nullptr) FillRows(constant_b->data<float>(), &held_);
  }
  const char* name() const override { return "small_matmul"; }
  int64_t scratch_bytes() const override { return pack_ * static_cast<int64_t>(sizeof(float)); }
  int64_t packed_bytes() const override { return held_.empty() ? 0 : static_cast<int64_t>(held_.size_bytes()); }

  struct State : KernelState {
    Tensor held;
  };
  std::unique_ptr<KernelState> MakeState() const override { return steady_ ? std::make_unique<State>() : nullptr; }
  void Pack(const KernelArgs& args) const override {
    if (steady_) FillRows(static_cast<const float*>(args.in[swapped_ ? 0 : 1]), &static_cast<State*>(args.state)->held);
  }

  void Run(const KernelArgs& args) const override {
    SmallMatMulArgs g = shape_;
    g.a = static_cast<const float*>(args.in[swapped_ ? 1 : 0]);
    g.b = steady_          ? static_cast<State*>(args.state)->held.data<float>()
          : !held_.empty() ? held_.data<float>()
                           : static_cast<const float*>(args.in[swapped_ ? 0 : 1]);
    g.bias = p_.bias ? static_cast<const float*>(args.in[2]) : nullptr;
    g.y = static_cast<float*>(args.out[0]);
    g.pack = static_cast<float*>(args.scratch);
    if (columns_ < g.n) {
      ParallelChunks(threads_, g.n, columns_, [&](int64_t from, int64_t to) {
        SmallMatMulArgs part = g;
        part.b += from * g.b_column;
        part.bias += g.bias == nullptr || g.one_bias ? 0 : from;
        part.y += from;
        part.n = to - from;
        fn_(part);
      });
      return;
    }
    for (int64_t i = 0; i < p_.batch; ++i) {
      fn_(g);
      g.a += shape_.m * shape_.k;
      g.b += shape_.k * shape_.n;
      g.y += shape_.m * shape_.n;
    }
  }

 private:
  // The transposed operand as rows.
  void FillRows(const float* b, Tensor* rows) const {
    if (rows->empty()) *rows = Tensor(DType::kF32, {plain_.k, shape_.b_row});
    float* to = rows->data<float>();
    for (int64_t j = 0; j < plain_.n; ++j) {
      for (int64_t p = 0; p < plain_.k; ++p) to[p * shape_.b_row + j] = b[j * plain_.b_column + p * plain_.b_row];
    }
  }

  Product p_;
  SmallMatMulFn fn_;
  int threads_;
  SmallMatMulArgs shape_{};
  bool swapped_;
  int64_t columns_, pack_;
  SmallMatMulArgs plain_{};  // the shape before packing
  bool steady_ = false;      // b is packed into the state
  Tensor held_;              // b, if it never changes and has to be packed
};

// A range of a product's rows, columns or batch entries, as one primitive call.
struct Part {
  int64_t a = 0, b = 0, y = 0, bias = 0;  // offsets in elements
  size_t variant = 0;                     // which primitive
  int held = -1;                          // which packed operand; -1: b itself
};

class DnnlMatMulKernel : public Kernel {
 public:
  explicit DnnlMatMulKernel(const KernelRequest& r)
      : p_(ProductOf(r)), threads_(r.threads), constant_b_(p_.batch == 1 ? r.Constant(1) : nullptr) {
    packed_b_ = constant_b_ != nullptr || (p_.batch == 1 && r.IsSteady(1));
    // Copying the operands must not cost more than the product gains.
    const int64_t copied = p_.m * p_.k + (packed_b_ ? 0 : p_.k * p_.n);
    if (r.bf16 && p_.m * p_.k * p_.n >= 48 * copied) type_ = memory::data_type::bf16;
    const OneThreadScope one_thread;
    Cut();
    if (packed_b_) PlanPacking();
    for (Variant& v : variants_) scratch_ = std::max(scratch_, RoundUp64(static_cast<int64_t>(v.scratch.get_size())));
    if (bf16()) {
      a_copy_ = scratch_ * threads_;
      b_copy_ = a_copy_ + RoundUp64(2 * p_.batch * p_.m * p_.k);
      scratch_bytes_ = b_copy_ + (packed_b_ ? 0 : RoundUp64(2 * p_.batch * p_.k * p_.n));
    } else {
      scratch_bytes_ = scratch_ * threads_;
    }
  }

  const char* name() const override { return bf16() ? "onednn_matmul_bf16" : "onednn_matmul"; }
  int64_t scratch_bytes() const override { return scratch_bytes_; }
  int64_t packed_bytes() const override {
    int64_t bytes = 0;
    for (const Tensor& t : held_) bytes += static_cast<int64_t>(t.size_bytes());
    return bytes;
  }

  struct State : KernelState {
    std::vector<DnnlArguments> parts, reorders;
    std::vector<Tensor> held;
  };
  std::unique_ptr<KernelState> MakeState() const override {
    auto s = std::make_unique<State>();
    for (const Part& part : parts_) {
      const Variant& v = variants_[part.variant];
      DnnlArguments& call = s->parts.emplace_back(v.primitive);
      call.Add(DNNL_ARG_SRC, v.a);
      call.Add(DNNL_ARG_WEIGHTS, v.b);
      call.Add(DNNL_ARG_DST, v.y);
      call.Add(DNNL_ARG_SCRATCHPAD, v.scratch);
      if (p_.bias) call.Add(DNNL_ARG_BIAS, v.bias);
    }
    if (constant_b_ != nullptr) return s;
    for (const Packing& p : packings_) {
      s->held.push_back(BufferOf(p.to));
      DnnlArguments& call = s->reorders.emplace_back(p.reorder);
      call.Add(DNNL_ARG_FROM, p.from);
      call.Add(DNNL_ARG_TO, p.to);
    }
    return s;
  }

  void Pack(const KernelArgs& args) const override {
    auto& state = *static_cast<State*>(args.state);
    for (size_t i = 0; i < state.reorders.size(); ++i) {
      state.reorders[i].Point(0, static_cast<const float*>(args.in[1]) + packings_[i].offset);
      state.reorders[i].Point(1, state.held[i].raw());
      state.reorders[i].Execute();
    }
  }

  void Run(const KernelArgs& args) const override {
    auto& state = *static_cast<State*>(args.state);
    const char *a = static_cast<const char*>(args.in[0]), *b = static_cast<const char*>(args.in[1]);
    if (bf16()) {
      a = ToBf16(args, a, p_.batch * p_.m * p_.k, a_copy_);
      if (!packed_b_) b = ToBf16(args, b, p_.batch * p_.k * p_.n, b_copy_);
    }
    const int64_t size = bf16() ? 2 : 4;
    ParallelFor(threads_, static_cast<int64_t>(parts_.size()), [&](int64_t i, int slot) {
      const Part& part = parts_[i];
      DnnlArguments& call = state.parts[i];
      call.Point(0, a + part.a * size);
      call.Point(1, !packed_b_               ? b + part.b * size
                    : constant_b_ != nullptr ? held_[part.held].raw()
                                             : state.held[part.held].raw());
      call.Point(2, static_cast<float*>(args.out[0]) + part.y);
      call.Point(3, static_cast<char*>(args.scratch) + slot * scratch_);
      if (p_.bias) call.Point(4, static_cast<const float*>(args.in[2]) + part.bias);
      call.Execute();
      if (p_.relu) Relu(variants_[part.variant], static_cast<float*>(args.out[0]) + part.y);
    });
  }

 private:
  bool bf16() const { return type_ == memory::data_type::bf16; }

  // A copy of an operand in the scratch memory.
  const char* ToBf16(const KernelArgs& args, const char* from, int64_t n, int64_t offset) const {
    constexpr int64_t kGrain = 32768;
    char* to = static_cast<char*>(args.scratch) + offset;
    ParallelChunks(threads_, n, kGrain, [&](int64_t begin, int64_t end) {
      GetVectorOps().to_bf16(reinterpret_cast<uint16_t*>(to) + begin, reinterpret_cast<const float*>(from) + begin,
                             static_cast<size_t>(end - begin));
    });
    return to;
  }

  struct Variant {
    int64_t batch, m, n;
    memory::desc a, b, y, bias, scratch;
    dnnl::matmul primitive;
  };

  // oneDNN's own relu turns NaN into 0 and would hide it from the finite check. The part is still in the cache.
  void Relu(const Variant& v, float* y) const {
    const bool whole = v.n == p_.n;
    const int64_t rows = whole ? 1 : v.batch * v.m, columns = whole ? v.batch * v.m * v.n : v.n;
    for (int64_t i = 0; i < rows; ++i, y += p_.n) relu_(y, y, nullptr, nullptr, static_cast<size_t>(columns));
  }

  // Batches are cut into ranges of batch entries. A single product is cut along the rows or the columns of its result,
  // so that the operand that the primitive has to transpose is cut too.
  void Cut() {
    constexpr int64_t kRows = 32, kColumns = 128;
    // One thread takes the whole product at once, which is up to 7 % faster (measured). How the library blocks long
    // sums depends on the shape of a part: the last bits may differ from those of several threads.
    const int64_t least = threads_ == 1 ? std::numeric_limits<int64_t>::max() : 1 << 21;
    const int64_t work = p_.batch * p_.m * p_.n * p_.k;
    if (p_.batch > 1) {
      const int64_t chunks = CountChunks(work, least, p_.batch), size = (p_.batch + chunks - 1) / chunks;
      for (int64_t i = 0; i < p_.batch; i += size) {
        const size_t v = VariantOf(std::min(size, p_.batch - i), p_.m, p_.n);
        parts_.push_back({i * p_.m * p_.k, i * p_.k * p_.n, i * p_.m * p_.n, 0, v});
      }
      return;
    }
    const int64_t by_rows = CountChunks(work, least, p_.m / kRows),
                  by_columns = CountChunks(work, least, p_.n / kColumns);
    const bool prefer_columns = p_.tb != p_.ta ? p_.tb : p_.n >= p_.m;
    const bool columns = by_rows == by_columns ? prefer_columns : by_columns > by_rows;
    const int64_t total = columns ? p_.n : p_.m, chunks = std::max(by_rows, by_columns);
    const int64_t size = ((total + chunks - 1) / chunks + 15) / 16 * 16;
    for (int64_t i = 0; i < total; i += size) {
      const int64_t count = std::min(size, total - i);
      if (columns) {
        parts_.push_back({0, i * (p_.tb ? p_.k : 1), i, i, VariantOf(1, p_.m, count)});
      } else {
        parts_.push_back({i * (p_.ta ? 1 : p_.k), 0, i * p_.n, 0, VariantOf(1, count, p_.n)});
      }
    }
  }

  // One range of b's columns and how it gets to the layout that a primitive wants.
  struct Packing {
    int64_t offset;
    memory::desc from, to;
    dnnl::reorder reorder;
  };

  // Parts that read the same range in the same layout share it. What never changes is packed now.
  void PlanPacking() {
    const memory::dims strides{p_.tb ? 1 : p_.n, p_.tb ? p_.k : 1};
    for (Part& part : parts_) {
      const Variant& v = variants_[part.variant];
      for (size_t i = 0; i < packings_.size() && part.held < 0; ++i) {
        if (packings_[i].offset == part.b && packings_[i].to == v.b) part.held = static_cast<int>(i);
      }
      if (part.held >= 0) continue;
      part.held = static_cast<int>(packings_.size());
      const memory::desc from({p_.k, v.n}, memory::data_type::f32, strides);
      const dnnl::reorder::primitive_desc pd(CpuEngine(), from, CpuEngine(), v.b);
      packings_.push_back({part.b, from, v.b, dnnl::reorder(pd)});
      if (constant_b_ != nullptr) held_.push_back(Reordered(constant_b_->data<float>() + part.b, from, v.b));
    }
  }

  size_t VariantOf(int64_t batch, int64_t m, int64_t n) {
    for (size_t i = 0; i < variants_.size(); ++i) {
      if (variants_[i].batch == batch && variants_[i].m == m && variants_[i].n == n) return i;
    }
    variants_.push_back(MakeVariant(batch, m, n));
    return variants_.size() - 1;
  }

  Variant MakeVariant(int64_t batch, int64_t m, int64_t n) const {
    const auto f32 = memory::data_type::f32;
    // Strides are the whole product's.
    const auto desc = [&](memory::data_type type, int64_t rows, int64_t columns, int64_t row, int64_t column,
                          int64_t entry) {
      return p_.batch == 1 ? memory::desc({rows, columns}, type, {row, column})
                           : memory::desc({batch, rows, columns}, type, {entry, row, column});
    };
    Variant v{batch, m, n};
    v.a = desc(type_, m, p_.k, p_.ta ? 1 : p_.k, p_.ta ? p_.m : 1, p_.m * p_.k);
    v.b = packed_b_ ? memory::desc({p_.k, n}, type_, memory::format_tag::any)
                    : desc(type_, p_.k, n, p_.tb ? 1 : p_.n, p_.tb ? p_.k : 1, p_.k * p_.n);
    v.y = desc(f32, m, n, p_.n, 1, p_.m * p_.n);
    v.bias = p_.batch == 1 ? memory::desc({1, n}, f32, memory::dims{n, 1})
                           : memory::desc({1, 1, n}, f32, memory::dims{n, n, 1});
    const dnnl::matmul::desc op =
        p_.bias ? dnnl::matmul::desc(v.a, v.b, v.bias, v.y) : dnnl::matmul::desc(v.a, v.b, v.y);
    const dnnl::matmul::primitive_desc pd(op, UserScratchpad(), CpuEngine());
    v.b = pd.weights_desc();
    v.scratch = pd.scratchpad_desc();
    v.primitive = dnnl::matmul(pd);
    return v;
  }

  Product p_;
  int threads_;
  memory::data_type type_ = memory::data_type::f32;  // of the operands in the product; f32 in memory
  const Tensor* constant_b_;                         // null if it may change
  bool packed_b_ = false;                            // constant or steady
  std::vector<Packing> packings_;
  std::vector<Tensor> held_;  // of a constant, by packing
  BlockFn relu_ = GetVectorOps().block[static_cast<int>(BlockOp::kRelu)];
  int64_t scratch_ = 0;  // bytes of one thread
  int64_t scratch_bytes_ = 0, a_copy_ = 0, b_copy_ = 0;
  std::vector<Variant> variants_;
  std::vector<Part> parts_;
};

// Below this many multiply-adds (measured), or with one or two rows, a library call does not pay.
bool IsSmall(const Product& p) {
  const int64_t work = p.m * p.k * p.n;
  return work == 0 || work <= 32768 || p.m <= 2 || p.n == 1;
}

}  // namespace

std::unique_ptr<Kernel> MakeMatMulKernel(const KernelRequest& r, std::string* why) {
  if (r.out(0).dtype != DType::kF32) {
    *why = "matmul: no f32";
    return nullptr;
  }
  const Product p = ProductOf(r);
  // A swapped product's second operand is the first input.
  if (IsSmall(p)) {
    const int b = p.n == 1 && p.m > 1 ? 0 : 1;
    return std::make_unique<SmallMatMulKernel>(p, r.threads, r.Constant(b), r.IsSteady(b));
  }
  try {
    return std::make_unique<DnnlMatMulKernel>(r);
  } catch (const dnnl::error& e) {
    *why = absl::StrCat("onednn_matmul: ", e.what());
    return nullptr;
  }
}

}  // namespace strata
