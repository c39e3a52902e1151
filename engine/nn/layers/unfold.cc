// PyTorch's Unfold and Fold: windows as columns (N, C * window, places), and the sum of columns.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/spatial.h"
#include "engine/nn/layers/windows.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

constexpr int kAxes = 2;

template <typename M>
WindowGrid GridOf(Scope& s, const M& a, std::vector<int64_t> size) {
  const std::vector<int64_t> ones(kAxes, 1), zeros(kAxes, 0);
  WindowGrid grid;
  grid.size = std::move(size);
  grid.kernel = PerAxis(s, "kernel_size", a.kernel_size(), kAxes, ones);
  grid.dilation = PerAxis(s, "dilation", a.dilation(), kAxes, ones);
  grid.pad_lo = grid.pad_hi = PerAxis(s, "padding", a.padding(), kAxes, zeros);
  grid.stride = PerAxis(s, "stride", a.stride(), kAxes, ones);
  for (int64_t places : grid.Places()) {
    if (places < 1 && s.ok())
      s.Fail(absl::StrCat("kernel_size|input|output_size: must fit ", ShapeString(grid.size), ", got ",
                          ShapeString(grid.kernel)));
  }
  CheckPairs(s, "kernel_size|input|output_size", {grid.kernel, grid.Places()});
  return grid;
}

Outputs BuildUnfold(Scope& s, const v1::Unfold& a, const Args& args) {
  Value x = args[0];
  const bool unbatched = x.rank() == kAxes + 1;
  if (unbatched) {
    x = ExpandDims(x, 0);
    s.MixRows();  // axis 0 holds channels
  }
  if (x.rank() != kAxes + 2)
    return {s.Fail(absl::StrCat("input: must have 3 or 4 axes, got ", ShapeString(args[0].value.shape())))};
  const WindowGrid grid = GridOf(s, a, {x.dim(2), x.dim(3)});
  if (!s.ok()) return {Value{s.graph(), -1}};
  const Value columns = GatherWindows(ToChannelsLast(x), grid);  // [K, L, N, C]
  const Value y = Reshape(Transpose(columns, {2, 3, 0, 1}), {x.dim(0), x.dim(1) * columns.dim(0), columns.dim(1)});
  return {unbatched ? Squeeze(y, 0) : y};
}

Outputs BuildFold(Scope& s, const v1::Fold& a, const Args& args) {
  Value x = args[0];
  const bool unbatched = x.rank() == 2;
  if (unbatched) {
    x = ExpandDims(x, 0);
    s.MixRows();  // axis 0 holds channels
  }
  if (x.rank() != 3)
    return {s.Fail(absl::StrCat("input: must have 2 or 3 axes, got ", ShapeString(args[0].value.shape())))};
  const WindowGrid grid =
      GridOf(s, a, PerAxis(s, "output_size", a.output_size(), kAxes, std::vector<int64_t>(kAxes, 1)));
  if (!s.ok()) return {Value{s.graph(), -1}};
  const int64_t window = NumElements(grid.kernel), places = NumElements(grid.Places());
  if (x.dim(1) % window != 0) {
    return {s.Fail(absl::StrCat("kernel_size|input: must divide the ", x.dim(1), " rows of the input, got ", window))};
  }
  if (x.dim(2) != places)
    return {s.Fail(absl::StrCat("output_size|input: needs ", places, " columns, got ", x.dim(2)))};
  const int64_t channels = x.dim(1) / window;
  const Value columns = Transpose(Reshape(x, {x.dim(0), channels, window, places}), {2, 3, 0, 1});
  const Value y = ToChannelsFirst(ScatterWindows(columns, grid));
  return {unbatched ? Squeeze(y, 0) : y};
}

}  // namespace

std::vector<Component> UnfoldLayers() {
  std::vector<Component> list;
  list.push_back(Layer<v1::Unfold>("unfold", &BuildUnfold)
                     .Shapes("x[N, C, H, W] -> y[N, C * window, places]")
                     .With({"kernel_size: 2", {{2, 3, 4, 5}}, v1::PYTORCH})
                     .With({"kernel_size: [3, 2] padding: 1 stride: [2, 1]", {{1, 2, 5, 3}}, v1::PYTORCH})
                     .With({"kernel_size: 2 dilation: 2", {{1, 1, 4, 3}}, v1::PYTORCH}));
  list.push_back(Layer<v1::Fold>("fold", &BuildFold)
                     .Shapes("x[N, C * window, places] -> y[N, C, H, W]")
                     .With({"output_size: [3, 4] kernel_size: 2", {{2, 8, 6}}, v1::PYTORCH})
                     .With({"output_size: 4 kernel_size: 2 stride: 2", {{1, 4, 4}}, v1::PYTORCH})
                     .With({"output_size: 3 kernel_size: 3 padding: 1", {{1, 9, 9}}, v1::PYTORCH}));
  return list;
}

}  // namespace strata::nn
