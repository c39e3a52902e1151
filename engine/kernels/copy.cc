// Movement: every op of the family is a set of strided copies between the operands and the result.
#include <algorithm>
#include <cstring>

#include "engine/base/status.h"
#include "engine/kernels/broadcast.h"
#include "engine/kernels/kernel.h"
#include "engine/kernels/parallel.h"

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
  // The first `fill` elements of the result are set to `value` before.
  CopyKernel(std::vector<StridedCopy> copies, int threads, const char* name, int64_t fill, T value)
      : copies_(std::move(copies)), threads_(threads), name_(name), fill_(fill), value_(value) {
    for (StridedCopy& c : copies_) Normalize(&c);
  }

  const char* name() const override { return name_; }

  void Run(const KernelArgs& args) const override {
    T* out = static_cast<T*>(args.out[0]);
    if (fill_ > 0) std::fill_n(out, fill_, value_);
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
    const auto one = [&](int64_t row) {
      const T* x = in;
      T* y = out;
      for (size_t d = outer.size(); d-- > 0;) {
        x += row % outer[d] * from[d];
        y += row % outer[d] * to[d];
        row /= outer[d];
      }
      if (across >= 0) {
        Tile(x, y, cross, columns, c.from_strides.back(), c.to_strides[across], c.to_strides.back());
      } else {
        Row(x, y, columns, c.from_strides.back(), c.to_strides.back());
      }
    };
    const int64_t grain = std::max<int64_t>(kGrainBytes / (cross * columns * static_cast<int64_t>(sizeof(T))), 1);
    ParallelChunks(threads_, rows, grain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) one(r);
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
    constexpr int64_t kSide = 16;
    for (int64_t i0 = 0; i0 < rows; i0 += kSide) {
      const int64_t i1 = std::min(rows, i0 + kSide);
      for (int64_t j0 = 0; j0 < columns; j0 += kSide) {
        const int64_t j1 = std::min(columns, j0 + kSide);
        for (int64_t i = i0; i < i1; ++i) {
          for (int64_t j = j0; j < j1; ++j) y[i * y_row + j * y_column] = x[i + j * x_column];
        }
      }
    }
  }

  std::vector<StridedCopy> copies_;
  int threads_;
  const char* name_;
  int64_t fill_;
  T value_;
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

std::vector<StridedCopy> Padded(const KernelRequest& r) {
  const auto& at = r.node.as<PadAttrs>();
  const Shape xs = Strides(r.in(0).shape), ys = Strides(r.out(0).shape);
  StridedCopy c{.space = r.in(0).shape, .from_strides = xs, .to_strides = ys};
  for (size_t d = 0; d < xs.size(); ++d) {
    const int64_t skip = std::max<int64_t>(-at.lo[d], 0), drop = std::max<int64_t>(-at.hi[d], 0);
    c.space[d] = std::max<int64_t>(r.in(0).shape[d] - skip - drop, 0);
    c.from += skip * xs[d];
    c.to += std::max<int64_t>(at.lo[d], 0) * ys[d];
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
    case Op::kPad:
      return Padded(r);
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
  std::vector<StridedCopy> copies = CopiesOf(r);
  T value{};
  int64_t fill = 0;
  if (r.node.op == Op::kPad) {
    fill = NumElements(r.out(0).shape);
    std::memcpy(&value, Tensor::Scalar(r.node.as<PadAttrs>().value, r.out(0).dtype).raw(), sizeof(T));
  }
  return std::make_unique<CopyKernel<T>>(std::move(copies), r.threads, OpName(r.node.op), fill, value);
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
