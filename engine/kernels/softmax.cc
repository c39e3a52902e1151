// Softmax and its logarithm over the last axis.
#include <cmath>

#include "engine/kernels/kernel.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/vector_ops.h"

namespace strata {
namespace {

class SoftmaxKernel : public Kernel {
 public:
  explicit SoftmaxKernel(const KernelRequest& r)
      : log_(r.node.op == Op::kLogSoftmax), columns_(r.in(0).shape.back()), threads_(r.threads), v_(GetVectorOps()) {
    rows_ = columns_ == 0 ? 0 : NumElements(r.in(0).shape) / columns_;
  }
  const char* name() const override { return log_ ? "log_softmax" : "softmax"; }
  bool CanOverwrite(int, int) const override { return !log_; }

  void Run(const KernelArgs& args) const override {
    const float* x = static_cast<const float*>(args.in[0]);
    float* y = static_cast<float*>(args.out[0]);
    const int64_t grain = std::max<int64_t>(8192 / std::max<int64_t>(columns_, 1), 1);
    const size_t n = static_cast<size_t>(columns_);
    ParallelChunks(threads_, rows_, grain, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; ++r) {
        const float* row = x + r * columns_;
        float* out = y + r * columns_;
        const float max = v_.max(row, n);
        const float sum = v_.exp_shift_sum(out, row, max, n);
        if (log_) {
          // Two steps: x - max is exact where the result is near zero.
          v_.affine(out, row, 1.0f, -max, n);
          v_.affine(out, out, 1.0f, -std::log(sum), n);
        } else {
          v_.affine(out, out, 1.0f / sum, 0.0f, n);
        }
      }
    });
  }

 private:
  bool log_;
  int64_t columns_, rows_ = 0;
  int threads_;
  const VectorOps& v_;
};

}  // namespace

std::unique_ptr<Kernel> MakeSoftmaxKernel(const KernelRequest& r, std::string* why) {
  if (r.in(0).dtype != DType::kF32) {
    *why = "softmax: no f32";
    return nullptr;
  }
  return std::make_unique<SoftmaxKernel>(r);
}

}  // namespace strata
