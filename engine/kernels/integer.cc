// Elementwise ops on every element type: blocks are widened to int64 or double, computed and narrowed. For ids, labels,
// masks, counters and double-precision values; single precision has kernels of its own.
#include <cmath>
#include <limits>

#include "engine/base/half.h"
#include "engine/base/status.h"
#include "engine/kernels/broadcast.h"
#include "engine/kernels/kernel.h"
#include "engine/kernels/parallel.h"

namespace strata {
namespace {

constexpr int64_t kBlock = 256;
constexpr int64_t kGrain = 8192;  // elements of a chunk

// Calls f(T{}) with the C++ type of `t`; halves are passed as their own tags.
struct Half {
  uint16_t bits;
};
struct BFloat {
  uint16_t bits;
};
struct Truth {
  uint8_t byte;
};
template <typename F>
void WithType(DType t, F f) {
  switch (t) {
    case DType::kBool:
      return f(Truth{});
    case DType::kU8:
      return f(uint8_t{});
    case DType::kI8:
      return f(int8_t{});
    case DType::kI16:
      return f(int16_t{});
    case DType::kU16:
      return f(uint16_t{});
    case DType::kI32:
      return f(int32_t{});
    case DType::kU32:
      return f(uint32_t{});
    case DType::kI64:
      return f(int64_t{});
    case DType::kU64:
      return f(uint64_t{});
    case DType::kF16:
      return f(Half{});
    case DType::kBF16:
      return f(BFloat{});
    case DType::kF32:
      return f(float{});
    case DType::kF64:
      return f(double{});
    case DType::kText:
      break;
  }
}

template <typename W, typename T>
W Widen(T x) {
  if constexpr (std::is_same_v<T, Half>) {
    return static_cast<W>(HalfToFloat(x.bits));
  } else if constexpr (std::is_same_v<T, BFloat>) {
    return static_cast<W>(BFloat16ToFloat(x.bits));
  } else if constexpr (std::is_same_v<T, Truth>) {
    return static_cast<W>(x.byte != 0);
  } else {
    return static_cast<W>(x);
  }
}

// Doubles truncate towards zero; beyond the type's range, and NaN, they become its end, and 0.
template <typename T, typename W>
T Narrow(W x) {
  if constexpr (std::is_same_v<T, Truth>) {
    return {x != 0};
  } else if constexpr (std::is_same_v<T, Half>) {
    return {FloatToHalf(static_cast<float>(x))};
  } else if constexpr (std::is_same_v<T, BFloat>) {
    return {FloatToBFloat16(static_cast<float>(x))};
  } else if constexpr (std::is_integral_v<T> && std::is_same_v<W, double>) {
    constexpr double kLow = static_cast<double>(std::numeric_limits<T>::min());
    constexpr double kHigh = static_cast<double>(std::numeric_limits<T>::max());
    if (x != x) return 0;
    return x <= kLow ? std::numeric_limits<T>::min() : x >= kHigh ? std::numeric_limits<T>::max() : static_cast<T>(x);
  } else {
    return static_cast<T>(x);
  }
}

template <typename W>
W UnaryOf(Op op, W x) {
  const double d = static_cast<double>(x);
  switch (op) {
    case Op::kNeg:
      return static_cast<W>(-x);
    case Op::kAbs:
      return x < 0 ? static_cast<W>(-x) : x;
    case Op::kSign:
      return x > 0 ? 1 : x < 0 ? -1 : x;
    case Op::kNot:
      return x == 0;
    case Op::kIsFinite:
      return std::isfinite(d);
    case Op::kCast:
      return x;
    case Op::kExp:
      return Narrow<W>(std::exp(d));
    case Op::kExpm1:
      return Narrow<W>(std::expm1(d));
    case Op::kLog:
      return Narrow<W>(std::log(d));
    case Op::kLog1p:
      return Narrow<W>(std::log1p(d));
    case Op::kSqrt:
      return Narrow<W>(std::sqrt(d));
    case Op::kSigmoid:
      return Narrow<W>(d >= 0 ? 1 / (1 + std::exp(-d)) : std::exp(d) / (1 + std::exp(d)));
    case Op::kTanh:
      return Narrow<W>(std::tanh(d));
    case Op::kErf:
      return Narrow<W>(std::erf(d));
    case Op::kFloor:
      return Narrow<W>(std::floor(d));
    default:
      STRATA_CHECK(false);
  }
}

template <typename W, typename F>
void Loop(W* y, const W* a, const W* b, int64_t n, F f) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<W>(f(a[i], b[i]));
}

template <typename W>
void Compute(Op op, W* y, const W* a, const W* b, const W* c, int64_t n) {
  switch (op) {
    case Op::kAdd:
      return Loop(y, a, b, n, [](W p, W q) { return p + q; });
    case Op::kSub:
      return Loop(y, a, b, n, [](W p, W q) { return p - q; });
    case Op::kMul:
      return Loop(y, a, b, n, [](W p, W q) { return p * q; });
    case Op::kDiv:
      return Loop(y, a, b, n, [](W p, W q) -> W {
        if constexpr (std::is_same_v<W, int64_t>) return q == 0 ? 0 : q == -1 ? -p : p / q;
        return p / q;
      });
    case Op::kMax:
      return Loop(y, a, b, n, [](W p, W q) { return p >= q || p != p ? p : q; });
    case Op::kMin:
      return Loop(y, a, b, n, [](W p, W q) { return p <= q || p != p ? p : q; });
    case Op::kPow:
      return Loop(y, a, b, n,
                  [](W p, W q) { return Narrow<W>(std::pow(static_cast<double>(p), static_cast<double>(q))); });
    case Op::kLess:
      return Loop(y, a, b, n, [](W p, W q) { return p < q; });
    case Op::kLessEqual:
      return Loop(y, a, b, n, [](W p, W q) { return p <= q; });
    case Op::kEqual:
      return Loop(y, a, b, n, [](W p, W q) { return p == q; });
    case Op::kAnd:
      return Loop(y, a, b, n, [](W p, W q) { return p != 0 && q != 0; });
    case Op::kOr:
      return Loop(y, a, b, n, [](W p, W q) { return p != 0 || q != 0; });
    case Op::kSelect:
      for (int64_t i = 0; i < n; ++i) y[i] = a[i] != 0 ? b[i] : c[i];
      return;
    case Op::kNeg:
      return Loop(y, a, a, n, [](W p, W) { return -p; });
    case Op::kNot:
      return Loop(y, a, a, n, [](W p, W) { return p == 0; });
    case Op::kCast:
      return Loop(y, a, a, n, [](W p, W) { return p; });
    default:
      return Loop(y, a, a, n, [op](W p, W) { return UnaryOf(op, p); });
  }
}

class IntegerKernel : public Kernel {
 public:
  explicit IntegerKernel(const KernelRequest& r) : op_(r.node.op), threads_(r.threads), out_type_(r.out(0).dtype) {
    std::vector<Shape> strides;
    for (size_t i = 0; i < r.node.inputs.size(); ++i) {
      const ValueInfo& v = r.in(static_cast<int>(i));
      types_.push_back(v.dtype);
      strides.push_back(BroadcastStrides(v.shape, r.out(0).shape));
      wide_float_ |= IsFloat(v.dtype);
    }
    wide_float_ |= IsFloat(out_type_);
    Collapsed c = Collapse(r.out(0).shape, strides, 0);
    columns_ = c.space.back();
    outer_.assign(c.space.begin(), c.space.end() - 1);
    rows_ = NumElements(outer_);
    strides_ = std::move(c.strides);
  }
  const char* name() const override { return "wide_elementwise"; }

  void Run(const KernelArgs& args) const override {
    if (columns_ == 0) return;
    if (columns_ < kBlock) {
      ParallelChunks(threads_, rows_, std::max<int64_t>(kGrain / columns_, 1), [&](int64_t from, int64_t to) {
        const int64_t tile = kBlock / columns_;
        for (int64_t row = from; row < to; row += tile) Block(args, row, std::min(tile, to - row), 0, columns_);
      });
      return;
    }
    const int64_t segments = (columns_ + kGrain - 1) / kGrain;
    ParallelChunks(threads_, rows_ * segments, 1, [&](int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; ++u) {
        const int64_t from = u % segments * kGrain, to = std::min(columns_, from + kGrain);
        for (int64_t c = from; c < to; c += kBlock) Block(args, u / segments, 1, c, std::min(kBlock, to - c));
      }
    });
  }

 private:
  void Block(const KernelArgs& args, int64_t row, int64_t rows, int64_t column, int64_t n) const {
    if (wide_float_) {
      RunBlock<double>(args, row, rows, column, n);
    } else {
      RunBlock<int64_t>(args, row, rows, column, n);
    }
  }

  template <typename W>
  void RunBlock(const KernelArgs& args, int64_t row, int64_t rows, int64_t column, int64_t n) const {
    W in[3][kBlock], y[kBlock];
    for (size_t i = 0; i < types_.size(); ++i) {
      for (int64_t r = 0; r < rows; ++r) Load(in[i] + r * n, args.in[i], i, row + r, column, n);
    }
    Compute<W>(op_, y, in[0], in[types_.size() > 1 ? 1 : 0], in[types_.size() > 2 ? 2 : 0], rows * n);
    const int64_t flat = row * columns_ + column;
    WithType(out_type_, [&](auto tag) {
      using T = decltype(tag);
      T* to = static_cast<T*>(args.out[0]) + flat;
      for (int64_t i = 0; i < rows * n; ++i) to[i] = Narrow<T>(y[i]);
    });
  }

  template <typename W>
  void Load(W* to, const void* from, size_t operand, int64_t row, int64_t column, int64_t n) const {
    const Shape& strides = strides_[operand];
    int64_t offset = column * strides.back();
    for (size_t d = outer_.size(); d-- > 0;) {
      offset += row % outer_[d] * strides[d];
      row /= outer_[d];
    }
    WithType(types_[operand], [&](auto tag) {
      using T = decltype(tag);
      const T* x = static_cast<const T*>(from) + offset;
      if (strides.back() == 0) {
        std::fill_n(to, n, Widen<W>(x[0]));
      } else {
        for (int64_t i = 0; i < n; ++i) to[i] = Widen<W>(x[i]);
      }
    });
  }

  Op op_;
  int threads_;
  DType out_type_;
  bool wide_float_ = false;
  std::vector<DType> types_;
  Shape outer_;
  int64_t rows_, columns_;
  std::vector<Shape> strides_;
};

}  // namespace

std::unique_ptr<Kernel> MakeIntegerKernel(const KernelRequest& r, std::string*) {
  return std::make_unique<IntegerKernel>(r);
}

}  // namespace strata
