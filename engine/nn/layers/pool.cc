#include "engine/nn/layers/pool.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/nn/layers/spatial.h"
#include "engine/ops/ops.h"

namespace strata::nn {

PoolWindows WindowsOf(Scope& s, const PoolRule& r, int i, int64_t in) {
  PoolWindows w;
  w.axis.dilation = r.dilation[i];
  const int64_t reach = r.dilation[i] * (r.size[i] - 1) + 1;
  const int64_t room = in + r.lo[i] + r.hi[i] - reach;
  // Rounded up, a window that is larger than the padded input still has its first cells.
  if (room < 0 && (!r.ceil || room + r.stride[i] <= 0)) {
    s.Fail(absl::StrCat("kernel_size|pool_size|input: windows must fit the padded input, ", in + r.lo[i] + r.hi[i],
                        ", got ", reach));
    return w;
  }
  int64_t count = room < 0 ? 1 : (r.ceil ? room + r.stride[i] - 1 : room) / r.stride[i] + 1;
  // A window that starts in the padding at the end does not exist.
  if (r.ceil && (count - 1) * r.stride[i] >= in + r.lo[i]) --count;
  if (!CheckPlaces(s, "input", count)) return w;
  for (int64_t j = 0; j < count; ++j) {
    const int64_t begin = j * r.stride[i] - r.lo[i];
    const int64_t skip = begin < 0 ? (-begin + r.dilation[i] - 1) / r.dilation[i] : 0;
    const int64_t start = begin + skip * r.dilation[i];
    const int64_t fit = start >= in ? 0 : (in - 1 - start) / r.dilation[i] + 1;
    w.axis.start.push_back(std::min(start, std::max<int64_t>(in - 1, 0)));
    w.axis.length.push_back(std::min(r.size[i] - skip, fit));
    w.counted.push_back(std::min(begin + r.size[i], in + r.hi[i]) - begin);
  }
  return w;
}

Value PoolFrame::Back(Value y) const {
  if (channels_first) y = ToChannelsFirst(y);
  return unbatched ? Squeeze(y, 0) : y;
}

PoolFrame EnterPool(Scope& s, Value x, int axes, v1::DataFormat format) {
  PoolFrame f{x, s.pytorch() && x.rank() == axes + 1, s.pytorch() || format == v1::CHANNELS_FIRST};
  if (f.unbatched) {
    f.x = ExpandDims(x, 0);
    s.MixRows();  // axis 0 holds channels
  }
  if (f.x.rank() != axes + 2) {
    f.x = s.Fail(absl::StrCat("input: must have ", axes + 2, " axes, got ", ShapeString(x.shape())));
  } else if (f.channels_first) {
    f.x = ToChannelsLast(f.x);
  }
  return f;
}

Value WindowMeans(Value x, const PoolAttrs& at, const std::vector<std::vector<int64_t>>& counted) {
  Shape shape(at.axes.size() + 2, 1);
  for (size_t i = 0; i < at.axes.size(); ++i) shape[i + 1] = static_cast<int64_t>(at.axes[i].start.size());
  std::vector<double> factor(NumElements(shape), 1);
  bool equal = true;
  for (size_t cell = 0; cell < factor.size(); ++cell) {
    int64_t rest = static_cast<int64_t>(cell), divisor = 1;
    for (size_t i = at.axes.size(); i-- > 0;) {
      divisor *= counted[i][rest % shape[i + 1]];
      rest /= shape[i + 1];
    }
    factor[cell] = 1.0 / static_cast<double>(divisor);
    equal &= factor[cell] == factor[0];
  }
  const Value sum = SumPool(x, at);
  if (factor.empty()) return sum;
  return equal ? sum * factor[0] : sum * Constant(x.graph, Tensor::Of(DType::kF32, shape, factor));
}

}  // namespace strata::nn
