// Row lookup and its gradient. Ids outside the table read zeros and write nothing.
#include <algorithm>
#include <cstring>

#include "engine/base/status.h"
#include "engine/kernels/kernel.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/vector_ops.h"

namespace strata {
namespace {

int64_t IdAt(const void* ids, bool wide, int64_t i) {
  return wide ? static_cast<const int64_t*>(ids)[i] : static_cast<const int32_t*>(ids)[i];
}

class GatherKernel : public Kernel {
 public:
  explicit GatherKernel(const KernelRequest& r)
      : rows_(r.in(0).shape[0]),
        bytes_(rows_ == 0 ? 0 : NumElements(r.in(0).shape) / rows_ * static_cast<int64_t>(SizeOf(r.in(0).dtype))),
        count_(NumElements(r.in(1).shape)),
        out_bytes_(NumElements(r.out(0).shape) * static_cast<int64_t>(SizeOf(r.out(0).dtype))),
        wide_(r.in(1).dtype == DType::kI64),
        threads_(r.threads) {}
  const char* name() const override { return "gather"; }

  void Run(const KernelArgs& args) const override {
    const char* table = static_cast<const char*>(args.in[0]);
    char* y = static_cast<char*>(args.out[0]);
    if (bytes_ == 0) {
      std::memset(y, 0, static_cast<size_t>(out_bytes_));
      return;
    }
    const int64_t grain = std::max<int64_t>((128 << 10) / bytes_, 64);
    ParallelChunks(threads_, count_, grain, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        const int64_t row = IdAt(args.in[1], wide_, i);
        if (row < 0 || row >= rows_) {
          std::memset(y + i * bytes_, 0, static_cast<size_t>(bytes_));
        } else {
          std::memcpy(y + i * bytes_, table + row * bytes_, static_cast<size_t>(bytes_));
        }
      }
    });
  }

 private:
  int64_t rows_, bytes_, count_, out_bytes_;
  bool wide_;
  int threads_;
};

// Each row of the result adds its updates in order, whatever the number of threads: a chunk owns a range of rows
// and walks all ids.
template <typename T>
class ScatterAddKernel : public Kernel {
 public:
  explicit ScatterAddKernel(const KernelRequest& r)
      : rows_(r.out(0).shape[0]),
        size_(NumElements(r.out(0).shape)),
        width_(rows_ == 0 ? 0 : size_ / rows_),
        count_(NumElements(r.in(0).shape)),
        wide_(r.in(0).dtype == DType::kI64),
        threads_(r.threads),
        add_(GetVectorOps().block[static_cast<int>(BlockOp::kAdd)]) {}
  const char* name() const override { return "scatter_add"; }

  void Run(const KernelArgs& args) const override {
    // Walking the ids costs about a nanosecond each in every chunk: few chunks, and only for much work.
    const int64_t work = size_ + 2 * count_ * width_;
    const int64_t chunks = std::clamp<int64_t>(work / 65536, 1, 4);
    const int64_t grain = std::max<int64_t>((rows_ + chunks - 1) / chunks, 1);
    ParallelChunks(threads_, rows_, grain, [&](int64_t from, int64_t to) { Rows(args, from, to); });
  }

 private:
  void Rows(const KernelArgs& args, int64_t from, int64_t to) const {
    const T* updates = static_cast<const T*>(args.in[1]);
    T* y = static_cast<T*>(args.out[0]);
    std::fill(y + from * width_, y + to * width_, T{0});
    for (int64_t i = 0; i < count_; ++i) {
      const int64_t row = IdAt(args.in[0], wide_, i);
      if (row < from || row >= to) continue;
      T* sum = y + row * width_;
      const T* x = updates + i * width_;
      if constexpr (std::is_same_v<T, float>) {
        add_(sum, sum, x, nullptr, static_cast<size_t>(width_));
      } else {
        for (int64_t j = 0; j < width_; ++j) sum[j] += x[j];
      }
    }
  }

  int64_t rows_, size_, width_, count_;
  bool wide_;
  int threads_;
  BlockFn add_;
};

}  // namespace

std::unique_ptr<Kernel> MakeGatherKernel(const KernelRequest& r, std::string* why) {
  if (r.node.op == Op::kGather) return std::make_unique<GatherKernel>(r);
  switch (r.out(0).dtype) {
    case DType::kF32:
      return std::make_unique<ScatterAddKernel<float>>(r);
    case DType::kF64:
      return std::make_unique<ScatterAddKernel<double>>(r);
    case DType::kI32:
      return std::make_unique<ScatterAddKernel<int32_t>>(r);
    case DType::kI64:
      return std::make_unique<ScatterAddKernel<int64_t>>(r);
    default:
      *why = "scatter_add: element type";
      return nullptr;
  }
}

}  // namespace strata
