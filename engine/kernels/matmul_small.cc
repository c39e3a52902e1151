// Matrix products too small or too thin for a library call.
#include "engine/kernels/parallel.h"
#include "engine/kernels/product.h"
#include "engine/kernels/small_matmul.h"

namespace strata {
namespace {

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
    g.residual = p_.residual ? static_cast<const float*>(args.in[2]) : nullptr;
    g.y = static_cast<float*>(args.out[0]);
    g.pack = static_cast<float*>(args.scratch);
    if (columns_ < g.n) {
      ParallelChunks(threads_, g.n, columns_, [&](int64_t from, int64_t to) {
        SmallMatMulArgs part = g;
        part.b += from * g.b_column;
        part.bias += g.bias == nullptr || g.one_bias ? 0 : from;
        if (g.residual != nullptr) part.residual += from;
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
      if (g.residual != nullptr) g.residual += shape_.m * shape_.n;
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

// Below this many multiply-adds (measured), or with one or two rows, a library call does not pay.
bool IsSmall(const Product& p) {
  const int64_t work = p.m * p.k * p.n;
  return work == 0 || work <= 32768 || p.m <= 2 || p.n == 1;
}

}  // namespace

std::unique_ptr<Kernel> MakeSmallMatMulKernel(const KernelRequest& r, std::string* why) {
  const Product p = ProductOf(r);
  if (r.out(0).dtype != DType::kF32 || !IsSmall(p)) {
    *why = absl::StrCat("small_matmul: no f32, or ", p.m, "x", p.k, "x", p.n, " is too large");
    return nullptr;
  }
  // A swapped product's second operand is the first input.
  const int b = p.n == 1 && p.m > 1 ? 0 : 1;
  return std::make_unique<SmallMatMulKernel>(p, r.threads, r.Constant(b), r.IsSteady(b));
}

}  // namespace strata
