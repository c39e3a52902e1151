// Forward convolutions over few channels, by our own kernel: each sample is padded into scratch memory, weights are
// brought to [K..., C, O]: constant ones once, when the kernel is made.
#include <algorithm>
#include <cstring>

#include "engine/base/status.h"
#include "engine/kernels/kernel.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/thin_conv.h"

namespace strata {
namespace {

constexpr int64_t kMaxChannels = 4;
constexpr int64_t kChunkWork = 1 << 18;  // multiply-adds: about 8 microseconds

class ThinConvKernel : public Kernel {
 public:
  explicit ThinConvKernel(const KernelRequest& r)
      : at_(r.node.as<ConvAttrs>()), x_(r.in(0).shape), y_(r.out(0).shape), w_(r.in(1).shape), threads_(r.threads) {
    g_ = {};
    g_.channels = x_[3];
    g_.x_columns = x_[2] + at_.pad_lo[1] + at_.pad_hi[1];
    g_.columns = y_[2];
    g_.out = y_[3];
    g_.window_y = w_[at_.weights_oi ? 2 : 0];
    g_.window_x = w_[at_.weights_oi ? 3 : 1];
    g_.stride_y = at_.stride[0];
    g_.stride_x = at_.stride[1];
    g_.dilation_y = at_.dilation[0];
    g_.dilation_x = at_.dilation[1];
    g_.relu = at_.relu;
    x_rows_ = x_[1] + at_.pad_lo[0] + at_.pad_hi[0];
    padded_ = x_rows_ != x_[1] || g_.x_columns != x_[2] ? Round(x_rows_ * g_.x_columns * g_.channels) : 0;
    if (at_.weights_oi) {
      const Tensor* constant = r.Constant(1);
      weights_ = constant == nullptr ? Round(NumElements(w_)) : 0;
      if (constant != nullptr) {
        held_ = Tensor(DType::kF32, w_);
        Repack(constant->data<float>(), held_.data<float>());
      }
    }
    const int64_t sample = y_[1] * y_[2] * y_[3] * g_.window_y * g_.window_x * g_.channels;
    grain_ = std::max<int64_t>(kChunkWork / std::max<int64_t>(sample, 1), 1);
  }
  const char* name() const override { return "thin_conv"; }
  int64_t scratch_bytes() const override {
    return (weights_ + padded_ * threads_) * static_cast<int64_t>(sizeof(float));
  }

  int64_t packed_bytes() const override { return held_.empty() ? 0 : static_cast<int64_t>(held_.size_bytes()); }

  void Run(const KernelArgs& args) const override {
    ThinConvArgs g = g_;
    g.w = held_.empty() ? static_cast<const float*>(args.in[1]) : held_.data<float>();
    g.bias = at_.bias ? static_cast<const float*>(args.in[2]) : nullptr;
    float* scratch = static_cast<float*>(args.scratch);
    if (weights_ > 0) {
      Repack(g.w, scratch);
      g.w = scratch;
    }
    g.rows = y_[1];
    const int64_t chunks = (x_[0] + grain_ - 1) / grain_;
    ParallelFor(threads_, chunks, [&](int64_t chunk, int slot) {
      for (int64_t i = chunk * grain_; i < std::min(x_[0], (chunk + 1) * grain_); ++i) {
        ThinConvArgs one = g;
        one.x = static_cast<const float*>(args.in[0]) + i * NumElements(x_) / x_[0];
        one.y = static_cast<float*>(args.out[0]) + i * NumElements(y_) / y_[0];
        if (padded_ > 0) one.x = Padded(one.x, scratch + weights_ + slot * padded_);
        kernel_(one);
      }
    });
  }

 private:
  static int64_t Round(int64_t floats) { return (floats + 15) / 16 * 16; }

  // [O, C, K...] to [K..., C, O].
  void Repack(const float* from, float* to) const {
    const int64_t taps = NumElements(w_) / g_.out, window = taps / g_.channels;
    for (int64_t o = 0; o < g_.out; ++o) {
      for (int64_t c = 0; c < g_.channels; ++c) {
        for (int64_t k = 0; k < window; ++k) to[(k * g_.channels + c) * g_.out + o] = from[o * taps + c * window + k];
      }
    }
  }

  const float* Padded(const float* x, float* to) const {
    std::memset(to, 0, static_cast<size_t>(padded_) * sizeof(float));
    const int64_t line = x_[2] * g_.channels, wide = g_.x_columns * g_.channels;
    for (int64_t row = 0; row < x_[1]; ++row) {
      float* at = to + (row + at_.pad_lo[0]) * wide + at_.pad_lo[1] * g_.channels;
      std::memcpy(at, x + row * line, static_cast<size_t>(line) * sizeof(float));
    }
    return to;
  }

  ConvAttrs at_;
  Shape x_, y_, w_;
  int threads_;
  ThinConvFn kernel_ = GetThinConv();
  ThinConvArgs g_;
  Tensor held_;  // weights that never change, if they have to be repacked
  int64_t x_rows_ = 0, padded_ = 0, weights_ = 0, grain_ = 1;
};

}  // namespace

std::unique_ptr<Kernel> MakeThinConvKernel(const KernelRequest& r, std::string* why) {
  const auto& at = r.node.as<ConvAttrs>();
  const auto negative = [](const std::vector<int64_t>& v) {
    return std::any_of(v.begin(), v.end(), [](int64_t p) { return p < 0; });
  };
  const bool thin = at.stride.size() == 2 && at.groups == 1 && r.in(0).shape[3] <= kMaxChannels && !at.residual;
  if (r.out(0).dtype != DType::kF32 || !thin || NumElements(r.out(0).shape) == 0 || NumElements(r.in(1).shape) == 0 ||
      negative(at.pad_lo) || negative(at.pad_hi)) {
    *why = "thin_conv: more than 4 channels, not two spatial axes, groups or a residual";
    return nullptr;
  }
  return std::make_unique<ThinConvKernel>(r);
}

}  // namespace strata
