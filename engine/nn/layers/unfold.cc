// PyTorch's Unfold: windows as columns (N, C * window, places).
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/spatial.h"
#include "engine/nn/layers/windows.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

constexpr int kUnfoldAxes = 2;

Outputs Build(Scope& s, const v1::Unfold& a, const Args& args) {
  Value x = args[0];
  const bool unbatched = x.rank() == kUnfoldAxes + 1;
  if (unbatched) {
    x = ExpandDims(x, 0);
    s.MixRows();  // axis 0 holds channels
  }
  if (x.rank() != kUnfoldAxes + 2)
    return {s.Fail(absl::StrCat("input: must have 3 or 4 axes, got ", ShapeString(args[0].value.shape())))};
  const WindowGrid grid = PlaneGridOf(s, a, {x.dim(2), x.dim(3)});
  if (!s.ok()) return {Value{s.graph(), -1}};
  const Value columns = GatherWindows(ToChannelsLast(x), grid);  // [K, L, N, C]
  const Value y = Reshape(Transpose(columns, {2, 3, 0, 1}), {x.dim(0), x.dim(1) * columns.dim(0), columns.dim(1)});
  return {unbatched ? Squeeze(y, 0) : y};
}

}  // namespace

Components Unfold() {
  return Layer<v1::Unfold>("unfold", &Build)
      .Shapes("x[N, C, H, W] -> y[N, C * window, places]")
      .Takes({Take::kRefuse, Take::kKeep}, kFloats)
      .With({"kernel_size: 2", {{2, 3, 4, 5}}, v1::PYTORCH})
      .With({"kernel_size: [3, 2] padding: 1 stride: [2, 1]", {{1, 2, 5, 3}}, v1::PYTORCH})
      .With({"kernel_size: 2 dilation: 2", {{1, 1, 4, 3}}, v1::PYTORCH});
}

}  // namespace strata::nn
