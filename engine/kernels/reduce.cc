// Reductions over any axes. Sums whose axes are the first or the last ones run as fused programs without instructions.
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/status.h"
#include "engine/graph/program.h"
#include "engine/kernels/kernel.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/vector_ops.h"

namespace strata {
namespace {

bool IsReduced(const std::vector<int64_t>& axes, size_t d) {
  return std::find(axes.begin(), axes.end(), static_cast<int64_t>(d)) != axes.end();
}

// An input's axes, neighbours of the same fate joined.
struct ReduceSpace {
  Shape kept, kept_strides, reduced, reduced_strides;
  int64_t inner = 1;  // size of the last axis, which is in neither list
  bool inner_reduced = false;
};

ReduceSpace SpaceOf(const Shape& x, const std::vector<int64_t>& axes) {
  struct Axis {
    int64_t size, stride;
    bool reduced;
  };
  std::vector<Axis> joined;
  const Shape strides = Strides(x);
  for (size_t d = 0; d < x.size(); ++d) {
    if (x[d] == 1) continue;
    const bool reduced = IsReduced(axes, d);
    if (!joined.empty() && joined.back().reduced == reduced) {
      joined.back() = {joined.back().size * x[d], strides[d], reduced};
    } else {
      joined.push_back({x[d], strides[d], reduced});
    }
  }
  ReduceSpace s;
  if (joined.empty()) return s;
  s.inner = joined.back().size;
  s.inner_reduced = joined.back().reduced;
  joined.pop_back();
  for (const Axis& a : joined) {
    (a.reduced ? s.reduced : s.kept).push_back(a.size);
    (a.reduced ? s.reduced_strides : s.kept_strides).push_back(a.stride);
  }
  return s;
}

int64_t OffsetOf(int64_t index, const Shape& sizes, const Shape& strides) {
  int64_t offset = 0;
  for (size_t d = sizes.size(); d-- > 0;) {
    offset += index % sizes[d] * strides[d];
    index /= sizes[d];
  }
  return offset;
}

template <Op kOp, typename T>
T Fold(T a, T b) {
  if constexpr (kOp == Op::kReduceSum) return a + b;
  if constexpr (kOp == Op::kReduceMax) return a >= b || a != a ? a : b;
  return a <= b || a != a ? a : b;
}

template <Op kOp, typename T>
T StartOf() {
  if constexpr (kOp == Op::kReduceSum) return T{0};
  if constexpr (std::numeric_limits<T>::has_infinity) {
    return kOp == Op::kReduceMax ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::infinity();
  }
  return kOp == Op::kReduceMax ? std::numeric_limits<T>::lowest() : std::numeric_limits<T>::max();
}

template <Op kOp, typename T>
class ReduceKernel : public Kernel {
 public:
  explicit ReduceKernel(const KernelRequest& r)
      : s_(SpaceOf(r.in(0).shape, r.node.as<AxesAttrs>().axes)), threads_(r.threads), v_(GetVectorOps()) {
    kept_ = NumElements(s_.kept);
    reduced_ = NumElements(s_.reduced);
    if (NumElements(r.in(0).shape) == 0) {  // nothing to fold: the start value everywhere
      kept_ = NumElements(r.out(0).shape);
      s_ = {.inner = 0, .inner_reduced = true};
      reduced_ = 0;
    }
  }
  const char* name() const override { return "reduce"; }

  void Run(const KernelArgs& args) const override {
    const T* x = static_cast<const T*>(args.in[0]);
    T* y = static_cast<T*>(args.out[0]);
    const int64_t grain = std::max<int64_t>(32768 / std::max<int64_t>(reduced_ * s_.inner, 1), 1);
    ParallelChunks(threads_, kept_, grain, [&](int64_t from, int64_t to) {
      for (int64_t k = from; k < to; ++k) {
        const T* base = x + OffsetOf(k, s_.kept, s_.kept_strides);
        if (s_.inner_reduced) {
          y[k] = Rows(base);
        } else {
          Columns(base, y + k * s_.inner);
        }
      }
    });
  }

 private:
  T Rows(const T* x) const {
    T all = StartOf<kOp, T>();
    double sum = 0;
    for (int64_t r = 0; r < reduced_; ++r) {
      const T* row = x + OffsetOf(r, s_.reduced, s_.reduced_strides);
      if constexpr (std::is_same_v<T, float> && kOp == Op::kReduceSum) {
        for (int64_t i = 0; i < s_.inner; i += 4096)
          sum += v_.sum(row + i, static_cast<size_t>(std::min<int64_t>(4096, s_.inner - i)));
      } else if constexpr (std::is_same_v<T, float>) {
        const size_t n = static_cast<size_t>(s_.inner);
        if (n > 0) all = Fold<kOp>(all, kOp == Op::kReduceMax ? v_.max(row, n) : v_.min(row, n));
      } else {
        for (int64_t i = 0; i < s_.inner; ++i) all = Fold<kOp>(all, row[i]);
      }
    }
    return std::is_same_v<T, float> && kOp == Op::kReduceSum ? static_cast<T>(sum) : all;
  }

  void Columns(const T* x, T* y) const {
    constexpr BlockOp kBlock = kOp == Op::kReduceSum   ? BlockOp::kAdd
                               : kOp == Op::kReduceMax ? BlockOp::kMax
                                                       : BlockOp::kMin;
    std::fill_n(y, s_.inner, StartOf<kOp, T>());
    for (int64_t r = 0; r < reduced_; ++r) {
      const T* row = x + OffsetOf(r, s_.reduced, s_.reduced_strides);
      if constexpr (std::is_same_v<T, float>) {
        v_.block[static_cast<int>(kBlock)](y, y, row, nullptr, static_cast<size_t>(s_.inner));
      } else {
        for (int64_t i = 0; i < s_.inner; ++i) y[i] = Fold<kOp>(y[i], row[i]);
      }
    }
  }

  ReduceSpace s_;
  int threads_;
  const VectorOps& v_;
  int64_t kept_, reduced_;
};

template <typename T>
class ArgMaxKernel : public Kernel {
 public:
  explicit ArgMaxKernel(const KernelRequest& r) : threads_(r.threads) {
    const Shape& x = r.in(0).shape;
    const size_t axis = static_cast<size_t>(r.node.as<AxesAttrs>().axes[0]);
    outer_ = NumElements(std::span(x).first(axis));
    size_ = x[axis];
    inner_ = NumElements(std::span(x).subspan(axis + 1));
  }
  const char* name() const override { return "argmax"; }

  void Run(const KernelArgs& args) const override {
    const T* x = static_cast<const T*>(args.in[0]);
    int32_t* y = static_cast<int32_t*>(args.out[0]);
    const int64_t grain = std::max<int64_t>(16384 / std::max<int64_t>(size_ * inner_, 1), 1);
    ParallelChunks(threads_, outer_, grain, [&](int64_t from, int64_t to) {
      for (int64_t o = from; o < to; ++o) {
        for (int64_t i = 0; i < inner_; ++i) y[o * inner_ + i] = One(x + o * size_ * inner_ + i);
      }
    });
  }

 private:
  // The first maximum; a NaN counts as one.
  int32_t One(const T* x) const {
    int64_t best = 0;
    for (int64_t j = 1; j < size_; ++j) {
      const T v = x[j * inner_], top = x[best * inner_];
      if (v > top || (v != v && top == top)) best = j;
    }
    return static_cast<int32_t>(best);
  }

  int64_t outer_, size_, inner_;
  int threads_;
};

template <typename T>
std::unique_ptr<Kernel> MakeTyped(const KernelRequest& r) {
  switch (r.node.op) {
    case Op::kReduceSum:
      return std::make_unique<ReduceKernel<Op::kReduceSum, T>>(r);
    case Op::kReduceMax:
      return std::make_unique<ReduceKernel<Op::kReduceMax, T>>(r);
    case Op::kReduceMin:
      return std::make_unique<ReduceKernel<Op::kReduceMin, T>>(r);
    default:
      return std::make_unique<ArgMaxKernel<T>>(r);
  }
}

}  // namespace

std::unique_ptr<Kernel> MakeReduceKernel(const KernelRequest& r, std::string* why) {
  if (r.node.op == Op::kReduceSum && r.in(0).dtype == DType::kF32 && NumElements(r.in(0).shape) > 0) {
    if (const std::optional<FusedAttrs> program = ProgramOf(r.graph, r.node)) {
      std::string unused;
      if (std::unique_ptr<Kernel> kernel = MakeProgramKernel(r, *program, "reduce_sum", &unused)) return kernel;
    }
  }
  switch (r.in(0).dtype) {
    case DType::kF32:
      return MakeTyped<float>(r);
    case DType::kF64:
      return MakeTyped<double>(r);
    case DType::kI32:
      return MakeTyped<int32_t>(r);
    case DType::kI64:
      return MakeTyped<int64_t>(r);
    case DType::kBool:
    case DType::kU8:
      if (r.node.op != Op::kReduceSum) return MakeTyped<uint8_t>(r);
      [[fallthrough]];
    default:
      *why = "reduce: element type";
      return nullptr;
  }
}

}  // namespace strata
