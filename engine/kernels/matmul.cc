// Matrix products by oneDNN. A second operand that never changes is packed once, when the kernel is made; one that is
// steady over many runs, before them.
#include <limits>

#include "engine/kernels/onednn.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/product.h"
#include "engine/kernels/vector_ops.h"

namespace strata {
namespace {

using dnnl::memory;

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
      if (p_.residual || p_.relu) Finish(args, part);
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

  // The residual and relu. oneDNN's own relu turns NaN into 0 and would hide it from the finite check. The part is
  // still in the cache.
  void Finish(const KernelArgs& args, const Part& part) const {
    const Variant& v = variants_[part.variant];
    const bool whole = v.n == p_.n;
    const int64_t rows = whole ? 1 : v.batch * v.m;
    const size_t columns = static_cast<size_t>(whole ? v.batch * v.m * v.n : v.n);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t at = part.y + i * p_.n;
      float* y = static_cast<float*>(args.out[0]) + at;
      if (p_.residual) add_(y, y, static_cast<const float*>(args.in[2]) + at, nullptr, columns);
      if (p_.relu) relu_(y, y, nullptr, nullptr, columns);
    }
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
      const int64_t least_entries = threads_ == 1 ? least : 1 << 18;
      const int64_t chunks = CountChunks(work, least_entries, p_.batch), size = (p_.batch + chunks - 1) / chunks;
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
  BlockFn add_ = GetVectorOps().block[static_cast<int>(BlockOp::kAdd)];
  BlockFn relu_ = GetVectorOps().block[static_cast<int>(BlockOp::kRelu)];
  int64_t scratch_ = 0;  // bytes of one thread
  int64_t scratch_bytes_ = 0, a_copy_ = 0, b_copy_ = 0;
  std::vector<Variant> variants_;
  std::vector<Part> parts_;
};

}  // namespace

std::unique_ptr<Kernel> MakeDnnlMatMulKernel(const KernelRequest& r, std::string* why) {
  if (r.out(0).dtype != DType::kF32) {
    *why = "onednn_matmul: no f32";
    return nullptr;
  }
  try {
    return std::make_unique<DnnlMatMulKernel>(r);
  } catch (const dnnl::error& e) {
    *why = absl::StrCat("onednn_matmul: ", e.what());
    return nullptr;
  }
}

}  // namespace strata
