// Movement: every op of the family is a set of strided copies between the operands and the result.
#include <algorithm>
#include <cstring>

#include "engine/base/status.h"
#include "engine/kernels/broadcast.h"
#include "engine/kernels/kernel.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/transpose.h"

namespace strata {
namespace {

constexpr int64_t kGrainBytes = 128 << 10;

// Copies the elements of `space` from in[operand] + from to out + to; strides in elements.
struct StridedCopy {
  int operand = 0;
  Shape space, from_strides, to_strides;
  int64_t from = 0, to = 0;
};

// Brings a copy to the fewest axes, the one with the result's smallest stride last.
void Normalize(StridedCopy* c) {
  const Shape strides[] = {c->to_strides, c->from_strides};
  Collapsed s = Collapse(c->space, strides, 0);
  c->space = std::move(s.space);
  c->to_strides = std::move(s.strides[0]);
  c->from_strides = std::move(s.strides[1]);
}

template <typename T>
class CopyKernel : public Kernel {
 public:
  CopyKernel(std::vector<StridedCopy> copies, int threads, const char* name)
      : copies_(std::move(copies)), threads_(threads), name_(name) {
    for (StridedCopy& c : copies_) Normalize(&c);
  }

  const char* name() const override { return name_; }

  void Run(const KernelArgs& args) const override {
    T* out = static_cast<T*>(args.out[0]);
    for (const StridedCopy& c : copies_) {
      const T* in = static_cast<const T*>(args.in[c.operand]);
      if (NumElements(c.space) > 0) RunCopy(c, in + c.from, out + c.to);
    }
  }

 private:
  void RunCopy(const StridedCopy& c, const T* in, T* out) const {
    const size_t rank = c.space.size();
    // A transpose of the last two axes, or of the last and another one, is done in tiles.
    int64_t across = -1;
    if (c.from_strides.back() > 1) {
      for (size_t d = 0; d + 1 < rank; ++d) {
        if (c.from_strides[d] == 1) across = static_cast<int64_t>(d);
      }
    }
    const int64_t columns = c.space.back();
    const int64_t cross = across >= 0 ? c.space[across] : 1;
    Shape outer, from, to;
    for (size_t d = 0; d + 1 < rank; ++d) {
      if (static_cast<int64_t>(d) == across) continue;
      outer.push_back(c.space[d]);
      from.push_back(c.from_strides[d]);
      to.push_back(c.to_strides[d]);
    }
    const int64_t rows = NumElements(outer);
    const int64_t grain = std::max<int64_t>(kGrainBytes / (cross * columns * static_cast<int64_t>(sizeof(T))), 1);
    ParallelChunks(threads_, rows, grain, [&](int64_t begin, int64_t end) {
      Shape at(outer.size(), 0);
      const T* x = in;
      T* y = out;
      int64_t rest = begin;
      for (size_t d = outer.size(); d-- > 0; rest /= outer[d]) {
        at[d] = rest % outer[d];
        x += at[d] * from[d];
        y += at[d] * to[d];
      }
      for (int64_t r = begin; r < end; ++r) {
        if (across >= 0) {
          Tile(x, y, cross, columns, c.from_strides.back(), c.to_strides[across], c.to_strides.back());
        } else {
          Row(x, y, columns, c.from_strides.back(), c.to_strides.back());
        }
        for (size_t d = outer.size(); d-- > 0;) {  // the next row
          x += from[d];
          y += to[d];
          if (++at[d] < outer[d]) break;
          x -= outer[d] * from[d];
          y -= outer[d] * to[d];
          at[d] = 0;
        }
      }
    });
  }

  static void Row(const T* x, T* y, int64_t n, int64_t from, int64_t to) {
    if (to == 1 && from == 1) {
      std::memcpy(y, x, static_cast<size_t>(n) * sizeof(T));
    } else if (to == 1 && from == 0) {
      std::fill_n(y, n, *x);
    } else {
      for (int64_t i = 0; i < n; ++i) y[i * to] = x[i * from];
    }
  }

  // y[i * y_row + j * y_column] = x[i + j * x_column] in squares that stay in the cache.
  static void Tile(const T* x, T* y, int64_t rows, int64_t columns, int64_t x_column, int64_t y_row, int64_t y_column) {
    constexpr int64_t kSide = 16;  // a cache line of 32-bit elements
    for (int64_t i = 0; i < rows; i += kSide) {
      for (int64_t j = 0; j < columns; j += kSide) {
        const T* from = x + i + j * x_column;
        T* to = y + i * y_row + j * y_column;
        if constexpr (sizeof(T) == 4) {
          if (y_column == 1 && i + kSide <= rows && j + kSide <= columns) {
            for (int64_t part = 0; part < 4; ++part) {
              const int64_t di = part / 2 * 8, dj = part % 2 * 8;
              Transpose8x8(from + di + dj * x_column, to + di * y_row + dj, x_column, y_row);
            }
            continue;
          }
        }
        for (int64_t k = 0; k < std::min(kSide, rows - i); ++k) {
          for (int64_t l = 0; l < std::min(kSide, columns - j); ++l)
            to[k * y_row + l * y_column] = from[k + l * x_column];
        }
      }
    }
  }

  std::vector<StridedCopy> copies_;
  int threads_;
  const char* name_;
};

// Writes each row of the result once: cells before, cells of the operand, cells behind.
template <typename T>
class PadKernel : public Kernel {
 public:
  explicit PadKernel(const KernelRequest& r) : threads_(r.threads) {
    const auto& at = r.node.as<PadAttrs>();
    const Shape &x = r.in(0).shape, &y = r.out(0).shape;
    std::memcpy(&value_, Tensor::Scalar(at.value, r.out(0).dtype).raw(), sizeof(T));
    // Axes behind the last one that changes belong to its cells; leading axes that do not change are one.
    for (size_t d = 0; d < x.size(); ++d) {
      const bool same = at.lo[d] == 0 && at.hi[d] == 0;
      if (same && !axes_.empty() && (axes_.back().same || d > LastChange(at))) {
        Axis& a = axes_.back();
        for (int64_t* v : {&a.in, &a.out, &a.lo, &a.first, &a.last}) *v *= x[d];
        continue;
      }
      const int64_t first = std::max<int64_t>(at.lo[d], 0), last = y[d] - std::max<int64_t>(at.hi[d], 0);
      axes_.push_back({x[d], y[d], at.lo[d], first, std::max(last, first), same});
    }
    if (axes_.empty()) axes_.push_back({1, 1, 0, 0, 1, true});
    rows_ = 1;
    for (size_t d = 0; d + 1 < axes_.size(); ++d) rows_ *= axes_[d].out;
  }

  const char* name() const override { return "pad"; }

  void Run(const KernelArgs& args) const override {
    const T* x = static_cast<const T*>(args.in[0]);
    T* y = static_cast<T*>(args.out[0]);
    const Axis& last = axes_.back();
    if (last.out == 0) return;
    const int64_t grain = std::max<int64_t>(kGrainBytes / (last.out * static_cast<int64_t>(sizeof(T))), 1);
    ParallelChunks(threads_, rows_, grain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) WriteRow(x, y + r * last.out, r);
    });
  }

 private:
  struct Axis {
    int64_t in, out, lo, first, last;  // cells [first, last) of the result come from the operand, shifted by lo
    bool same;
  };

  static size_t LastChange(const PadAttrs& at) {
    size_t last = 0;
    for (size_t d = 0; d < at.lo.size(); ++d) {
      if (at.lo[d] != 0 || at.hi[d] != 0) last = d;
    }
    return last;
  }

  void WriteRow(const T* x, T* y, int64_t row) const {
    const Axis& last = axes_.back();
    int64_t offset = 0, stride = last.in;
    for (size_t d = axes_.size() - 1; d-- > 0;) {
      const Axis& a = axes_[d];
      const int64_t at = row % a.out;
      row /= a.out;
      if (at < a.first || at >= a.last) {
        std::fill_n(y, last.out, value_);
        return;
      }
      offset += (at - a.lo) * stride;
      stride *= a.in;
    }
    std::fill_n(y, last.first, value_);
    std::memcpy(y + last.first, x + offset + last.first - last.lo,
                static_cast<size_t>(last.last - last.first) * sizeof(T));
    std::fill_n(y + last.last, last.out - last.last, value_);
  }

  int threads_;
  T value_{};
  std::vector<Axis> axes_;
  int64_t rows_;
};

std::vector<StridedCopy> Transposed(const KernelRequest& r) {
  const auto& p = r.node.as<AxesAttrs>().axes;
  const Shape xs = Strides(r.in(0).shape);
  StridedCopy c{.space = r.out(0).shape, .to_strides = Strides(r.out(0).shape)};
  for (int64_t axis : p) c.from_strides.push_back(xs[axis]);
  return {c};
}

std::vector<StridedCopy> Sliced(const KernelRequest& r) {
  const auto& at = r.node.as<SliceAttrs>();
  const Shape xs = Strides(r.in(0).shape);
  StridedCopy c{.space = r.out(0).shape, .to_strides = Strides(r.out(0).shape)};
  for (size_t d = 0; d < xs.size(); ++d) {
    c.from_strides.push_back(xs[d] * at.step[d]);
    c.from += xs[d] * at.start[d];
  }
  return {c};
}

std::vector<StridedCopy> Concatenated(const KernelRequest& r) {
  const int64_t axis = r.node.as<AxesAttrs>().axes[0];
  const Shape ys = Strides(r.out(0).shape);
  std::vector<StridedCopy> copies;
  int64_t at = 0;
  for (size_t i = 0; i < r.node.inputs.size(); ++i) {
    const Shape& x = r.in(static_cast<int>(i)).shape;
    copies.push_back({static_cast<int>(i), x, Strides(x), ys, 0, at * ys[axis]});
    at += x[axis];
  }
  return copies;
}

std::vector<StridedCopy> Broadcasted(const KernelRequest& r) {
  const Shape& y = r.out(0).shape;
  return {{0, y, BroadcastStrides(r.in(0).shape, y), Strides(y)}};
}

std::vector<StridedCopy> Reversed(const KernelRequest& r) {
  const auto& axes = r.node.as<AxesAttrs>().axes;
  const Shape xs = Strides(r.in(0).shape);
  StridedCopy c{.space = r.out(0).shape, .from_strides = xs, .to_strides = xs};
  for (int64_t axis : axes) {
    c.from_strides[axis] = -xs[axis];
    c.from += xs[axis] * (c.space[axis] - 1);
  }
  return {c};
}

std::vector<StridedCopy> CopiesOf(const KernelRequest& r) {
  switch (r.node.op) {
    case Op::kTranspose:
      return Transposed(r);
    case Op::kSlice:
      return Sliced(r);
    case Op::kConcat:
      return Concatenated(r);
    case Op::kBroadcast:
      return Broadcasted(r);
    default:
      return Reversed(r);
  }
}

template <typename T>
std::unique_ptr<Kernel> Make(const KernelRequest& r) {
  if (r.node.op == Op::kPad) return std::make_unique<PadKernel<T>>(r);
  return std::make_unique<CopyKernel<T>>(CopiesOf(r), r.threads, OpName(r.node.op));
}

}  // namespace

std::unique_ptr<Kernel> MakeCopyKernel(const KernelRequest& r, std::string*) {
  switch (SizeOf(r.out(0).dtype)) {
    case 1:
      return Make<uint8_t>(r);
    case 2:
      return Make<uint16_t>(r);
    case 4:
      return Make<uint32_t>(r);
    default:
      return Make<uint64_t>(r);
  }
}

}  // namespace strata
