// Matrix products: our own kernel for small and thin ones, oneDNN for the rest.
#include "engine/kernels/onednn.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/small_matmul.h"

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

class SmallMatMulKernel : public Kernel {
 public:
  SmallMatMulKernel(const Product& p, int threads) : p_(p), fn_(GetSmallMatMul()), threads_(threads) {
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
    columns_ = p.batch == 1 && shape_.m == 1 && p.k * shape_.n >= (1 << 18) ? 128 : shape_.n;
    pack_ = PackSize(shape_.m, shape_.k, shape_.n, shape_.b_column != 1);
  }
  const char* name() const override { return "small_matmul"; }
  int64_t scratch_bytes() const override { return pack_ * static_cast<int64_t>(sizeof(float)); }

  void Run(const KernelArgs& args) const override {
    SmallMatMulArgs g = shape_;
    g.a = static_cast<const float*>(args.in[swapped_ ? 1 : 0]);
    g.b = static_cast<const float*>(args.in[swapped_ ? 0 : 1]);
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
  Product p_;
  SmallMatMulFn fn_;
  int threads_;
  SmallMatMulArgs shape_{};
  bool swapped_;
  int64_t columns_, pack_;
};

class DnnlMatMulKernel : public Kernel {
 public:
  explicit DnnlMatMulKernel(const KernelRequest& r) : p_(ProductOf(r)) {
    const ThreadsScope threads(r.threads);
    const auto type = memory::data_type::f32;
    const auto desc = [&](int64_t rows, int64_t columns, bool transposed) {
      const memory::dim row = transposed ? 1 : columns, column = transposed ? rows : 1;
      return p_.batch == 1 ? memory::desc({rows, columns}, type, {row, column})
                           : memory::desc({p_.batch, rows, columns}, type, {rows * columns, row, column});
    };
    a_ = desc(p_.m, p_.k, p_.ta);
    b_ = desc(p_.k, p_.n, p_.tb);
    y_ = desc(p_.m, p_.n, false);
    bias_ = p_.batch == 1 ? memory::desc({1, p_.n}, type, memory::dims{p_.n, 1})
                          : memory::desc({1, 1, p_.n}, type, memory::dims{p_.n, p_.n, 1});
    dnnl::primitive_attr attr = UserScratchpad();
    if (p_.relu) {
      dnnl::post_ops post;
      post.append_eltwise(1, dnnl::algorithm::eltwise_relu, 0, 0);
      attr.set_post_ops(post);
    }
    const dnnl::matmul::desc op = p_.bias ? dnnl::matmul::desc(a_, b_, bias_, y_) : dnnl::matmul::desc(a_, b_, y_);
    const dnnl::matmul::primitive_desc pd(op, attr, CpuEngine());
    scratch_ = pd.scratchpad_desc();
    primitive_ = dnnl::matmul(pd);
  }

  const char* name() const override { return "onednn_matmul"; }
  int64_t scratch_bytes() const override { return static_cast<int64_t>(scratch_.get_size()); }

  struct State : KernelState {
    explicit State(dnnl::primitive p) : call(std::move(p)) {}
    DnnlArguments call;
  };
  std::unique_ptr<KernelState> MakeState() const override {
    auto s = std::make_unique<State>(primitive_);
    s->call.Add(DNNL_ARG_SRC, a_);
    s->call.Add(DNNL_ARG_WEIGHTS, b_);
    s->call.Add(DNNL_ARG_DST, y_);
    s->call.Add(DNNL_ARG_SCRATCHPAD, scratch_);
    if (p_.bias) s->call.Add(DNNL_ARG_BIAS, bias_);
    return s;
  }

  void Run(const KernelArgs& args) const override {
    DnnlArguments& call = static_cast<State*>(args.state)->call;
    call.Point(0, args.in[0]);
    call.Point(1, args.in[1]);
    call.Point(2, args.out[0]);
    call.Point(3, args.scratch);
    if (p_.bias) call.Point(4, args.in[2]);
    call.Execute();
  }

 private:
  Product p_;
  memory::desc a_, b_, y_, bias_, scratch_;
  dnnl::matmul primitive_;
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
  if (IsSmall(p)) return std::make_unique<SmallMatMulKernel>(p, r.threads);
  try {
    return std::make_unique<DnnlMatMulKernel>(r);
  } catch (const dnnl::error& e) {
    *why = absl::StrCat("onednn_matmul: ", e.what());
    return nullptr;
  }
}

}  // namespace strata
