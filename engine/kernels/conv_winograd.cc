// 3 x 3 convolutions and both their gradients by Winograd's algorithm (winograd.h). Tiles of the result are taken in
// blocks whose transforms stay in the cache: transform the inputs, 36 products, transform the results.
#include <algorithm>

#include "engine/base/status.h"
#include "engine/kernels/kernel.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/winograd.h"

namespace strata {
namespace {

constexpr int64_t kTile = 4, kReach = 6;
constexpr int64_t kLeastChannels = 16;
constexpr int64_t kLeastTiles = 32;          // where weights are transformed for every run
constexpr int64_t kBlockFloats = 112 << 10;  // of the transforms of one block
constexpr int64_t kPad = 16;                 // floats between points: keeps them out of each other's cache lines
constexpr int64_t kMostWeights = 128 * 128;  // channel pairs: beyond, the transformed weights outgrow the cache
constexpr int64_t kSumFloats = 1 << 18;      // of all ranges of a weight gradient

int64_t RoundUp16(int64_t n) { return (n + 15) / 16 * 16; }

// The tiles of a batch of results, channels last, and the pixels around them.
struct Tiles {
  int64_t samples, rows, columns, height, width;  // tiles a sample; pixels of the result

  explicit Tiles(const Shape& y)
      : samples(y[0]),
        rows((y[1] + kTile - 1) / kTile),
        columns((y[2] + kTile - 1) / kTile),
        height(y[1]),
        width(y[2]) {}
  int64_t count() const { return samples * rows * columns; }
  // How much of the tiles is result.
  double used() const {
    return static_cast<double>(height * width) / static_cast<double>(rows * columns * kTile * kTile);
  }
};

template <typename T>
struct Image {
  T* data;
  int64_t height, width, channels;
};

// Pointers to the kSize x kSize pixels of sample `n` from (y, x) on; beyond the edges, `outside`.
template <int kSize, typename T>
void Pixels(const Image<T>& image, int64_t n, int64_t y, int64_t x, T* outside, T** cells) {
  for (int64_t i = 0; i < kSize; ++i) {
    const bool row = y + i >= 0 && y + i < image.height;
    T* line = image.data + (n * image.height + y + i) * image.width * image.channels;
    for (int64_t j = 0; j < kSize; ++j) {
      const bool inside = row && x + j >= 0 && x + j < image.width;
      cells[i * kSize + j] = inside ? line + (x + j) * image.channels : outside;
    }
  }
}

// What the kernels of this file share: shapes, padding and the way weights lie in memory.
class WinogradKernel : public Kernel {
 public:
  WinogradKernel(const ConvAttrs& at, const Shape& x, const Shape& y, const Shape& w, int threads)
      : at_(at), x_(x), y_(y), threads_(threads), tiles_(y), in_(x[3]), out_(y[3]) {
    // w is [3, 3, C, O] or [O, C, 3, 3].
    strides_ =
        at.weights_oi ? WinogradStrides{3, 1, 9, w[1] * 9} : WinogradStrides{3 * w[2] * w[3], w[2] * w[3], w[3], 1};
  }

 protected:
  // Floats from one point of the transformed weights to the next.
  int64_t u_step() const { return RoundUp16(in_ * out_) + kPad; }

  // Divides the tiles into blocks of equal size: at most what the cache holds, and several where there is work for
  // more than one thread.
  void Divide(int64_t floats_a_tile) {
    int64_t most = std::max<int64_t>(kBlockFloats / (kWinogradPoints * floats_a_tile), 4);
    const int64_t count = tiles_.count();
    // Whole tiles of the product: of 12 rows, and of 16 where there is one vector of columns.
    if (most > 12) most -= most % (most > 48 ? 48 : 12);
    int64_t blocks = (count + most - 1) / most;
    if (blocks == 1 && count >= 8) blocks = 2;
    block_ = blocks > 2 ? most : (count + blocks - 1) / blocks;
    blocks_ = (count + block_ - 1) / block_;
  }

  struct Position {
    int64_t sample, y, x;  // of a tile's first pixel
  };
  Position At(int64_t tile) const {
    const int64_t per_sample = tiles_.rows * tiles_.columns, rest = tile % per_sample;
    return {tile / per_sample, rest / tiles_.columns * kTile, rest % tiles_.columns * kTile};
  }

  // B^T d B of the tiles from `first` to `last`, at v + point * v_step_ + tile * channels.
  void TransformInputs(const float* x, int64_t first, int64_t last, const float* zeros, float* v) const {
    const Image<const float> image{x, x_[1], x_[2], in_};
    const float* cells[kReach * kReach];
    for (int64_t t = first; t < last; ++t) {
      const Position p = At(t);
      Pixels<kReach>(image, p.sample, p.y - pad_y_, p.x - pad_x_, zeros, cells);
      ops_.input(v + (t - first) * in_, v_step_, cells, in_);
    }
  }

  ConvAttrs at_;
  Shape x_, y_;  // what is read through windows, and what has one value a window
  int threads_;
  Tiles tiles_;
  int64_t in_, out_;
  int64_t pad_y_ = 0, pad_x_ = 0;
  WinogradStrides strides_;
  const WinogradOps& ops_ = GetWinogradOps();
  int64_t block_ = 1, blocks_ = 1;  // tiles of a block; blocks
  int64_t v_step_ = 0;              // floats from one point of the inputs' transforms to the next
};

// y = x * w, or dx = dy * w turned around.
class Correlation : public WinogradKernel {
 public:
  Correlation(const KernelRequest& r, const ConvAttrs& at)
      : WinogradKernel(at, r.in(0).shape, r.out(0).shape, r.in(1).shape, r.threads),
        turned_(r.node.op == Op::kConvGradInput) {
    pad_y_ = turned_ ? 2 - at.pad_lo[0] : at.pad_lo[0];
    pad_x_ = turned_ ? 2 - at.pad_lo[1] : at.pad_lo[1];
    if (turned_) {
      std::swap(strides_.in, strides_.out);
      first_weight_ = 2 * (strides_.y + strides_.x);
      strides_.y = -strides_.y;
      strides_.x = -strides_.x;
    }
    Divide(in_ + out_);
    // Few tiles: the threads share the channels of the result.
    parts_ = blocks_ == 1 && out_ % 32 == 0 ? 2 : 1;
    v_step_ = block_ * in_ + kPad;
    m_step_ = block_ * (out_ / parts_) + kPad;
    if (const Tensor* constant = r.Constant(1)) {
      held_ = Tensor(DType::kF32, {kWinogradPoints, u_step()});
      ops_.weights(held_.data<float>(), u_step(), constant->data<float>() + first_weight_, strides_, in_, out_);
    }
  }
  const char* name() const override { return turned_ ? "winograd_conv_grad_input" : "winograd_conv"; }
  int64_t packed_bytes() const override { return held_.empty() ? 0 : static_cast<int64_t>(held_.size_bytes()); }
  int64_t scratch_bytes() const override { return (shared_floats() + slot_floats() * threads_) * 4; }

  void Run(const KernelArgs& args) const override {
    float* scratch = static_cast<float*>(args.scratch);
    std::fill_n(scratch, in_, 0.0f);
    const float* u = held_.data<float>();
    if (held_.empty()) {
      float* made = scratch + RoundUp16(in_);
      ops_.weights(made, u_step(), static_cast<const float*>(args.in[1]) + first_weight_, strides_, in_, out_);
      u = made;
    }
    ParallelFor(threads_, blocks_ * parts_, [&](int64_t chunk, int slot) {
      RunBlock(args, u, chunk / parts_, chunk % parts_, scratch, scratch + shared_floats() + slot * slot_floats());
    });
  }

 private:
  int64_t shared_floats() const { return RoundUp16(in_) + (held_.empty() ? kWinogradPoints * u_step() : 0); }
  int64_t slot_floats() const { return RoundUp16(kWinogradPoints * (v_step_ + m_step_)); }

  void RunBlock(const KernelArgs& args, const float* u, int64_t block, int64_t part, const float* zeros,
                float* v) const {
    const int64_t first = block * block_, last = std::min(first + block_, tiles_.count());
    const int64_t width = out_ / parts_, channel = part * width;
    float* m = v + kWinogradPoints * v_step_;
    TransformInputs(static_cast<const float*>(args.in[0]), first, last, zeros, v);
    for (int64_t p = 0; p < kWinogradPoints; ++p) {
      ops_.product(m + p * m_step_, width, v + p * v_step_, in_, 1, u + p * u_step() + channel, out_, last - first, in_,
                   width, false);
    }
    const float* bias = at_.bias ? static_cast<const float*>(args.in[2]) + channel : nullptr;
    const float* residual = at_.residual ? static_cast<const float*>(args.in[at_.bias ? 3 : 2]) + channel : nullptr;
    const Image<float> y{static_cast<float*>(args.out[0]) + channel, tiles_.height, tiles_.width, out_};
    const Image<const float> other{residual, tiles_.height, tiles_.width, out_};
    float* cells[kTile * kTile];
    const float* others[kTile * kTile];
    for (int64_t t = first; t < last; ++t) {
      const Position at = At(t);
      Pixels<kTile, float>(y, at.sample, at.y, at.x, nullptr, cells);
      if (residual != nullptr) Pixels<kTile, const float>(other, at.sample, at.y, at.x, nullptr, others);
      ops_.output(cells, m + (t - first) * width, m_step_, width, bias, residual != nullptr ? others : nullptr,
                  at_.relu);
    }
  }

  bool turned_;
  int64_t first_weight_ = 0;  // offset of tap (0, 0)
  int64_t parts_ = 1;         // of the result's channels
  int64_t m_step_ = 0;        // floats from one point of the results' transforms to the next
  Tensor held_;               // transformed weights that never change
};

// dw: ranges of blocks are added up side by side, then the ranges' sums are added and transformed back.
class WeightGradient : public WinogradKernel {
 public:
  WeightGradient(const KernelRequest& r, const ConvAttrs& at)
      : WinogradKernel(at, r.in(0).shape, r.in(1).shape, r.out(0).shape, r.threads) {
    pad_y_ = at.pad_lo[0];
    pad_x_ = at.pad_lo[1];
    Divide(in_ + out_);
    ranges_ = std::min(blocks_, std::clamp<int64_t>(kSumFloats / sum_floats(), 2, 8));
    v_step_ = block_ * in_ + kPad;
    z_step_ = block_ * out_ + kPad;
  }
  const char* name() const override { return "winograd_conv_grad_weight"; }
  int64_t scratch_bytes() const override { return (zeros_floats() + range_floats() * ranges_) * 4; }

  void Run(const KernelArgs& args) const override {
    float* scratch = static_cast<float*>(args.scratch);
    std::fill_n(scratch, zeros_floats(), 0.0f);
    float* sums = scratch + zeros_floats();
    ParallelFor(threads_, ranges_, [&](int64_t range, int) {
      const int64_t first = blocks_ * range / ranges_, last = blocks_ * (range + 1) / ranges_;
      float* sum = sums + range * range_floats();
      for (int64_t b = first; b < last; ++b) AddBlock(args, b, b > first, scratch, sum);
    });
    for (int64_t range = 1; range < ranges_; ++range) {
      const float* other = sums + range * range_floats();
      for (int64_t i = 0; i < sum_floats(); ++i) sums[i] += other[i];
    }
    ops_.weights_grad(static_cast<float*>(args.out[0]), sums, u_step(), strides_, in_, out_);
  }

 private:
  int64_t zeros_floats() const { return RoundUp16(std::max(in_, out_)); }
  int64_t sum_floats() const { return kWinogradPoints * u_step(); }
  int64_t range_floats() const { return sum_floats() + RoundUp16(kWinogradPoints * (v_step_ + z_step_)); }

  void AddBlock(const KernelArgs& args, int64_t block, bool add, const float* zeros, float* sum) const {
    const int64_t first = block * block_, last = std::min(first + block_, tiles_.count());
    float* v = sum + sum_floats();
    float* z = v + kWinogradPoints * v_step_;
    TransformInputs(static_cast<const float*>(args.in[0]), first, last, zeros, v);
    const Image<const float> dy{static_cast<const float*>(args.in[1]), y_[1], y_[2], out_};
    const float* cells[kTile * kTile];
    for (int64_t t = first; t < last; ++t) {
      const Position at = At(t);
      Pixels<kTile>(dy, at.sample, at.y, at.x, zeros, cells);
      ops_.spread(z + (t - first) * out_, z_step_, cells, out_);
    }
    for (int64_t p = 0; p < kWinogradPoints; ++p) {
      ops_.product(sum + p * u_step(), out_, v + p * v_step_, 1, in_, z + p * z_step_, out_, in_, last - first, out_,
                   add);
    }
  }

  int64_t ranges_ = 1;
  int64_t z_step_ = 0;
};

bool All(const std::vector<int64_t>& v, int64_t value) {
  return v.size() == 2 && std::all_of(v.begin(), v.end(), [value](int64_t i) { return i == value; });
}
bool Within(const std::vector<int64_t>& v, int64_t low, int64_t high) {
  return std::all_of(v.begin(), v.end(), [&](int64_t i) { return i >= low && i <= high; });
}

}  // namespace

std::unique_ptr<Kernel> MakeWinogradKernel(const KernelRequest& r, std::string* why) {
  const auto& at = r.node.as<ConvAttrs>();
  const bool weight = r.node.op == Op::kConvGradWeight, input = r.node.op == Op::kConvGradInput;
  const Shape& w = weight ? r.out(0).shape : r.in(1).shape;
  const Shape& y = weight ? r.in(1).shape : r.out(0).shape;
  const bool three = w.size() == 4 && w[at.weights_oi ? 2 : 0] == 3 && w[at.weights_oi ? 3 : 1] == 3;
  if (r.out(0).dtype != DType::kF32 || at.groups != 1 || !All(at.stride, 1) || !All(at.dilation, 1) || !three ||
      !Within(at.pad_lo, 0, input ? 2 : 1 << 20) || !Within(at.pad_hi, 0, 1 << 20)) {
    *why = "winograd: not a dense 3 x 3 convolution of step 1 in float32";
    return nullptr;
  }
  const int64_t channels = std::min(w[at.weights_oi ? 0 : 2], w[at.weights_oi ? 1 : 3]);
  const Tiles tiles(y);
  const bool constant = !weight && r.Constant(1) != nullptr;
  if (channels < kLeastChannels || NumElements(w) > 9 * kMostWeights || tiles.count() < (constant ? 1 : kLeastTiles) ||
      tiles.used() < 0.4) {
    *why = "winograd: few or many channels, few tiles, or tiles that are mostly beyond the edge";
    return nullptr;
  }
  if (weight) return std::make_unique<WeightGradient>(r, at);
  return std::make_unique<Correlation>(r, at);
}

}  // namespace strata
