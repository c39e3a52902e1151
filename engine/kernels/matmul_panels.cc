// Matrix products by our own panels, where they are faster than oneDNN's: with AVX2 and no more.
#include "engine/kernels/panels.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/product.h"

namespace strata {
namespace {

class PanelMatMulKernel : public Kernel {
 public:
  PanelMatMulKernel(const Product& p, int threads, const Tensor* constant_b, bool steady_b)
      : p_(p), ops_(GetPanelOps()), threads_(threads), steady_(steady_b && constant_b == nullptr) {
    if (constant_b != nullptr) Hold(constant_b->raw(), &held_);
    // Ranges of rows, then of columns if these are few.
    const int64_t tiles = (p.m + kPanelRows - 1) / kPanelRows, panels = (p.n + kPanel - 1) / kPanel;
    const int64_t shares = threads == 1 ? 1 : std::clamp(p.m * p.k * p.n / kLeastShare, int64_t{1}, int64_t{8});
    rows_ = threads == 1 ? p.m : (p.m + tiles - 1) / tiles;
    const int64_t ranges = std::clamp(shares / tiles, int64_t{1}, panels);
    columns_ = (panels + ranges - 1) / ranges * kPanel;
    if (constant_b == nullptr && !steady_) panels_ = PanelsSize(std::min(p.k, kPanelDepth), p.n);
    if (p.ta) row_pack_ = PanelRowsSize(rows_, p.k);
  }
  const char* name() const override { return "panel_matmul"; }
  int64_t scratch_bytes() const override {
    return (panels_ + threads_ * row_pack_) * static_cast<int64_t>(sizeof(float));
  }
  int64_t packed_bytes() const override { return held_.empty() ? 0 : static_cast<int64_t>(held_.size_bytes()); }

  struct State : KernelState {
    Tensor held;
  };
  std::unique_ptr<KernelState> MakeState() const override { return steady_ ? std::make_unique<State>() : nullptr; }
  void Pack(const KernelArgs& args) const override {
    if (steady_) Hold(args.in[1], &static_cast<State*>(args.state)->held);
  }

  void Run(const KernelArgs& args) const override {
    if (panels_ == 0) {
      return Multiply(args, 0, p_.k, (steady_ ? static_cast<State*>(args.state)->held : held_).data<float>());
    }
    // b by ranges of k: its panels are read while the caches have them.
    float* const panels = static_cast<float*>(args.scratch);
    for (int64_t from = 0; from < p_.k; from += kPanelDepth) {
      const int64_t k = std::min(kPanelDepth, p_.k - from);
      PackRange(args.in[1], from, k, threads_, panels);
      Multiply(args, from, k, panels);
    }
  }

 private:
  static constexpr int64_t kLeastShare = 1 << 18;  // multiply-adds that are worth a thread's while

  // Adds the range [from, from + k) to y, of which `panels` are b's part.
  void Multiply(const KernelArgs& args, int64_t from, int64_t k, const float* panels) const {
    float* const y = static_cast<float*>(args.out[0]);
    const float* start = from > 0 ? y : p_.bias || p_.residual ? static_cast<const float*>(args.in[2]) : nullptr;
    const int64_t start_row = from > 0 || p_.residual ? p_.n : 0;
    const int64_t down = (p_.m + rows_ - 1) / rows_, across = (p_.n + columns_ - 1) / columns_;
    ParallelFor(threads_, down * across, [&](int64_t i, int slot) {
      const int64_t row = i / across * rows_, column = i % across * columns_;
      ops_.multiply({.a = static_cast<const float*>(args.in[0]) + row * a_row() + from * a_column(),
                     .panels = panels + column * k,
                     .start = start == nullptr ? nullptr : start + row * start_row + column,
                     .y = y + row * p_.n + column,
                     .rows = static_cast<float*>(args.scratch) + panels_ + slot * row_pack_,
                     .m = std::min(rows_, p_.m - row),
                     .k = k,
                     .n = std::min(columns_, p_.n - column),
                     .a_row = a_row(),
                     .a_column = a_column(),
                     .start_row = start_row,
                     .y_row = p_.n,
                     .relu = p_.relu && from + k == p_.k});
    });
  }
  int64_t a_row() const { return p_.ta ? 1 : p_.k; }
  int64_t a_column() const { return p_.ta ? p_.m : 1; }

  // All of b, to stay.
  void Hold(const void* b, Tensor* held) const {
    if (held->empty()) *held = Tensor(DType::kF32, {PanelsSize(p_.k, p_.n)});
    PackRange(b, 0, p_.k, 1, held->data<float>());
  }

  // b's rows [first, first + k).
  void PackRange(const void* b, int64_t first, int64_t k, int threads, float* panels) const {
    constexpr int64_t kGrain = 16384;  // elements
    const int64_t columns = std::max(kPanel, kGrain / std::max<int64_t>(1, k) / kPanel * kPanel);
    const int64_t row = p_.tb ? 1 : p_.n;
    const PanelSource source{static_cast<const float*>(b) + first * row, row, p_.tb ? p_.k : 1, k, p_.n};
    ParallelChunks(threads, p_.n, columns, [&](int64_t from, int64_t to) { ops_.pack(source, from, to, panels); });
  }

  Product p_;
  PanelOps ops_;
  int threads_;
  bool steady_;  // b is packed into the state
  Tensor held_;  // b, if it never changes
  int64_t rows_, columns_;
  int64_t panels_ = 0;    // floats of scratch memory for a range of b's rows, if b is not held
  int64_t row_pack_ = 0;  // and for a thread's part of a transposed a
};

}  // namespace

std::unique_ptr<Kernel> MakePanelMatMulKernel(const KernelRequest& r, std::string* why) {
  // Rows from which packing an operand that changes costs little (measured), and columns that a plan's memory bears.
  constexpr int64_t kLeastRows = 128, kMostColumns = 1 << 15;
  const Product p = ProductOf(r);
  const Tensor* constant = r.Constant(1);
  const bool held = constant != nullptr || r.IsSteady(1);
  if (r.out(0).dtype != DType::kF32 || InstructionSet() != "avx2" || p.batch != 1) {
    *why = "panel_matmul: no f32, a batch, or vectors wider than AVX2's";
    return nullptr;
  }
  if (!held && (p.m < kLeastRows || p.n > kMostColumns)) {
    *why = "panel_matmul: packing costs too much";
    return nullptr;
  }
  return std::make_unique<PanelMatMulKernel>(p, r.threads, constant, r.IsSteady(1));
}

}  // namespace strata
