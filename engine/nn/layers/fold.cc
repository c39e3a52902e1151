// PyTorch's Fold: the sum of columns at the cells of their windows.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/spatial.h"
#include "engine/nn/layers/windows.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

constexpr int kFoldAxes = 2;

Outputs Build(Scope& s, const v1::Fold& a, const Args& args) {
  Value x = args[0];
  const bool unbatched = x.rank() == 2;
  if (unbatched) {
    x = ExpandDims(x, 0);
    s.MixRows();  // axis 0 holds channels
  }
  if (x.rank() != 3)
    return {s.Fail(absl::StrCat("input: must have 2 or 3 axes, got ", ShapeString(args[0].value.shape())))};
  const WindowGrid grid =
      PlaneGridOf(s, a, PerAxis(s, "output_size", a.output_size(), kFoldAxes, std::vector<int64_t>(kFoldAxes, 1)));
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

Components Fold() {
  return Layer<v1::Fold>("fold", &Build)
      .Shapes("x[N, C * window, places] -> y[N, C, H, W]")
      .Takes({Take::kRefuse, Take::kKeep}, kFloats)
      .With({"output_size: [3, 4] kernel_size: 2", {{2, 8, 6}}, v1::PYTORCH})
      .With({"output_size: 4 kernel_size: 2 stride: 2", {{1, 4, 4}}, v1::PYTORCH})
      .With({"output_size: 3 kernel_size: 3 padding: 1", {{1, 9, 9}}, v1::PYTORCH});
}

}  // namespace strata::nn
