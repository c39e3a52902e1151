// Pooling over windows, for the layers that do. Windows are tables (start and length per axis, clipped to the input),
// so padding, ceil mode and adaptive windows are all the same operation.
#pragma once

#include <string>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/nn/layers/spatial.h"
#include "strata/v1/model.pb.h"

namespace strata::nn {

// Size, stride, dilation and padding of the windows of each axis.
struct PoolRule {
  std::vector<int64_t> size, stride, dilation, lo, hi;
  bool ceil = false;
};

// One axis: the windows, and the size that PyTorch's divisor counts for each (with padding, but never beyond it).
struct PoolWindows {
  PoolAttrs::Axis axis;
  std::vector<int64_t> counted;
};

// The windows of axis `i`, which has `in` cells. Fails if none fits.
PoolWindows WindowsOf(Scope& s, const PoolRule& rule, int i, int64_t in);

// Brings the input to N, spatial..., C; remembers how to go back.
struct PoolFrame {
  Value x;
  bool unbatched = false, channels_first = false;

  Value Back(Value y) const;
};
// Fails, and has an empty input, if that has not `axes` spatial axes.
PoolFrame EnterPool(Scope& s, Value x, int axes, v1::DataFormat format);

// Sum of the windows times the reciprocal of each window's divisor, which is the product of `counted` over the axes.
Value WindowMeans(Value x, const PoolAttrs& at, const std::vector<std::vector<int64_t>>& counted);

// The rule of a layer, whose message is MaxPool or AvgPool, for an input with the channels last.
template <typename M>
PoolRule PoolRuleOf(Scope& s, const M& a, Value x, int axes) {
  PoolRule r;
  const std::vector<int64_t> zeros(axes, 0), ones(axes, 1);
  r.size = PerAxis(s, s.pytorch() ? "kernel_size" : "pool_size", a.pool_size(), axes, {});
  if (r.size.empty()) {
    s.Fail("kernel_size: must be given, got nothing");
    return r;
  }
  r.stride = PerAxis(s, "stride", a.stride(), axes, r.size);
  r.dilation = ones;
  if constexpr (std::is_same_v<M, v1::MaxPool>) r.dilation = PerAxis(s, "dilation", a.dilation(), axes, ones);
  r.lo = r.hi = zeros;
  r.ceil = a.ceil_mode();
  if (a.padding().kind_case() == v1::Padding::kSize) {
    r.lo = r.hi = PerAxis(s, "padding", a.padding().size().values(), axes, zeros);
    for (int i = 0; i < axes; ++i) {
      if (r.lo[i] < 0 || 2 * r.lo[i] > r.size[i]) {
        s.Fail(absl::StrCat("padding|kernel_size: must be between 0 and half the window of ", r.size[i], ", got ",
                            r.lo[i]));
      }
    }
  } else if (a.padding().mode() == v1::Padding::SAME) {
    for (int i = 0; i < axes; ++i) SamePadding(x.dim(i + 1), r.size[i], r.stride[i], &r.lo[i], &r.hi[i]);
  } else if (a.padding().mode() == v1::Padding::CAUSAL) {
    s.Fail("padding: must be \"valid\" or \"same\", got \"causal\"");
  }
  return r;
}

}  // namespace strata::nn
