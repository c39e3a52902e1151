// Window operations, channels last: the channels of one cell are one vector. Any rank, any table of windows.
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/status.h"
#include "engine/kernels/kernel.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/vector_ops.h"

namespace strata {
namespace {

// The geometry of a pooling: for each output cell, the input cells of its window, as a flat list of spatial positions.
struct Windows {
  int64_t batch, channels, in_cells, out_cells;
  std::vector<int32_t> first;  // of each output cell, into `cells`; one more at the end
  std::vector<int32_t> cells;
};

Windows WindowsOf(const PoolAttrs& at, const Shape& x, const Shape& y) {
  const size_t spatial = at.axes.size();
  Windows w{x[0], x.back(), 1, 1, {0}, {}};
  for (size_t d = 0; d < spatial; ++d) {
    w.in_cells *= x[1 + d];
    w.out_cells *= y[1 + d];
  }
  std::vector<int64_t> out(spatial, 0);
  for (int64_t o = 0; o < w.out_cells; ++o) {
    std::vector<int64_t> at_cell(spatial, 0);
    int64_t count = 1;
    for (size_t d = 0; d < spatial; ++d) count *= at.axes[d].length[out[d]];
    for (int64_t k = 0; k < count; ++k) {
      int64_t position = 0;
      for (size_t d = 0; d < spatial; ++d) {
        position = position * x[1 + d] + at.axes[d].start[out[d]] + at_cell[d] * at.axes[d].dilation;
      }
      w.cells.push_back(static_cast<int32_t>(position));
      for (size_t d = spatial; d-- > 0;) {
        if (++at_cell[d] < at.axes[d].length[out[d]]) break;
        at_cell[d] = 0;
      }
    }
    w.first.push_back(static_cast<int32_t>(w.cells.size()));
    for (size_t d = spatial; d-- > 0;) {
      if (++out[d] < y[1 + d]) break;
      out[d] = 0;
    }
  }
  return w;
}

class PoolKernel : public Kernel {
 public:
  PoolKernel(const KernelRequest& r, Windows w)
      : op_(r.node.op), w_(std::move(w)), threads_(r.threads), v_(GetVectorOps()) {
    if (op_ == Op::kMaxPool) positions_ = IsRead(r.graph, r.node.outputs[1]);
    near_ties_ = op_ == Op::kMaxPoolGrad && r.node.as<PoolAttrs>().near_ties;
    if (op_ == Op::kMaxPoolGrad && !near_ties_) own_positions_ = AreOfSameWindows(r);
    std::vector<int> windows(static_cast<size_t>(w_.in_cells), 0);
    for (const int32_t cell : w_.cells) ++windows[cell];
    disjoint_ = std::all_of(windows.begin(), windows.end(), [](int n) { return n <= 1; });
    covered_ = std::all_of(windows.begin(), windows.end(), [](int n) { return n >= 1; });
  }
  const char* name() const override { return OpName(op_); }

  void Run(const KernelArgs& args) const override {
    const int64_t image = w_.in_cells * w_.channels;
    const int64_t grain = std::max<int64_t>(16384 / std::max<int64_t>(image, 1), 1);
    ParallelChunks(threads_, w_.batch, grain, [&](int64_t from, int64_t to) {
      for (int64_t b = from; b < to; ++b) Image(args, b);
    });
  }

 private:
  void Image(const KernelArgs& args, int64_t b) const {
    const int64_t in = b * w_.in_cells * w_.channels, out = b * w_.out_cells * w_.channels;
    const float* source = static_cast<const float*>(args.in[0]);
    float* result = static_cast<float*>(args.out[0]);
    switch (op_) {
      case Op::kMaxPool:
        return MaxImage(source + in, result + out, static_cast<int32_t*>(args.out[1]) + out);
      case Op::kMaxPoolGrad:
        if (near_ties_) {
          return NearGradImage(source + out, static_cast<const float*>(args.in[1]) + in,
                               static_cast<const float*>(args.in[2]) + out, result + in);
        }
        return MaxGradImage(source + out, static_cast<const int32_t*>(args.in[1]) + out, result + in);
      case Op::kSumPool:
        return SumImage(source + in, result + out);
      default:
        return SumGradImage(source + out, result + in);
    }
  }

  void MaxImage(const float* x, float* y, int32_t* position) const {
    for (int64_t o = 0; o < w_.out_cells; ++o, y += w_.channels, position += w_.channels) {
      const int32_t k = w_.first[o], end = w_.first[o + 1];
      if (k == end) {
        std::fill_n(y, w_.channels, 0.0f);
        std::fill_n(position, w_.channels, 0);
        continue;
      }
      v_.max_cells(y, positions_ ? position : nullptr, x, w_.cells.data() + k, static_cast<size_t>(end - k),
                   static_cast<size_t>(w_.channels));
    }
  }

  void MaxGradImage(const float* dy, const int32_t* position, float* dx) const {
    if (!own_positions_) return ScatterImage(dy, position, dx);
    if (!disjoint_ || !covered_) std::fill_n(dx, w_.in_cells * w_.channels, 0.0f);
    for (int64_t o = 0; o < w_.out_cells; ++o, dy += w_.channels, position += w_.channels) {
      const int32_t k = w_.first[o], end = w_.first[o + 1];
      v_.max_cells_grad(dx, dy, position, w_.cells.data() + k, static_cast<size_t>(end - k),
                        static_cast<size_t>(w_.channels), disjoint_);
    }
  }

  void NearGradImage(const float* dy, const float* x, const float* y, float* dx) const {
    std::fill_n(dx, w_.in_cells * w_.channels, 0.0f);
    for (int64_t o = 0; o < w_.out_cells; ++o, dy += w_.channels, y += w_.channels) {
      for (int32_t k = w_.first[o]; k < w_.first[o + 1]; ++k) {
        const int64_t cell = w_.cells[k] * w_.channels;
        for (int64_t c = 0; c < w_.channels; ++c) {
          dx[cell + c] += std::fabs(x[cell + c] - y[c]) < static_cast<float>(kNearTie) ? dy[c] : 0.0f;
        }
      }
    }
  }

  // Positions from elsewhere may lie anywhere.
  void ScatterImage(const float* dy, const int32_t* position, float* dx) const {
    std::fill_n(dx, w_.in_cells * w_.channels, 0.0f);
    for (int64_t i = 0; i < w_.out_cells * w_.channels; ++i) dx[position[i] * w_.channels + i % w_.channels] += dy[i];
  }

  void SumImage(const float* x, float* y) const {
    for (int64_t o = 0; o < w_.out_cells; ++o, y += w_.channels) {
      const int32_t k = w_.first[o], end = w_.first[o + 1];
      v_.sum_cells(y, x, w_.cells.data() + k, static_cast<size_t>(end - k), static_cast<size_t>(w_.channels));
    }
  }

  void SumGradImage(const float* dy, float* dx) const {
    const BlockFn add = v_.block[static_cast<int>(BlockOp::kAdd)];
    std::fill_n(dx, w_.in_cells * w_.channels, 0.0f);
    for (int64_t o = 0; o < w_.out_cells; ++o, dy += w_.channels) {
      for (int32_t k = w_.first[o]; k < w_.first[o + 1]; ++k) {
        float* to = dx + w_.cells[k] * w_.channels;
        add(to, to, dy, nullptr, static_cast<size_t>(w_.channels));
      }
    }
  }

  static bool IsRead(const Graph& g, ValueId v) {
    const auto same = [v](ValueId u) { return u == v; };
    return std::any_of(g.outputs().begin(), g.outputs().end(), [&](const NamedValue& o) { return o.value == v; }) ||
           std::any_of(g.nodes().begin(), g.nodes().end(),
                       [&](const Node& n) { return std::any_of(n.inputs.begin(), n.inputs.end(), same); });
  }

  // Whether the positions come from a pooling over the same windows.
  static bool AreOfSameWindows(const KernelRequest& r) {
    const Node& pool = r.graph.producer(r.node.inputs[1]);
    if (pool.op != Op::kMaxPool || r.graph.info(pool.inputs[0]).shape != r.out(0).shape) return false;
    const auto same = [](const PoolAttrs::Axis& a, const PoolAttrs::Axis& b) {
      return a.start == b.start && a.length == b.length && a.dilation == b.dilation;
    };
    const auto &mine = r.node.as<PoolAttrs>().axes, &theirs = pool.as<PoolAttrs>().axes;
    return std::equal(mine.begin(), mine.end(), theirs.begin(), theirs.end(), same);
  }

  Op op_;
  bool near_ties_ = false;
  bool own_positions_ = false;
  bool positions_ = false;  // somebody reads the second result
  Windows w_;
  bool disjoint_, covered_;  // no cell lies in two windows; every cell lies in one
  int threads_;
  const VectorOps& v_;
};

}  // namespace

std::unique_ptr<Kernel> MakePoolKernel(const KernelRequest& r, std::string* why) {
  const bool gradient = r.node.op == Op::kMaxPoolGrad || r.node.op == Op::kSumPoolGrad;
  const Shape& x = gradient ? r.out(0).shape : r.in(0).shape;
  const Shape& y = gradient ? r.in(0).shape : r.out(0).shape;
  int64_t image = 1;
  for (size_t d = 1; d < x.size(); ++d) image *= x[d];
  if (r.in(0).dtype != DType::kF32 || image > std::numeric_limits<int32_t>::max()) {
    *why = "pool: no f32, or too large";
    return nullptr;
  }
  return std::make_unique<PoolKernel>(r, WindowsOf(r.node.as<PoolAttrs>(), x, y));
}

}  // namespace strata
