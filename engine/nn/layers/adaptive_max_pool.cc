// PyTorch's maximum of windows that cover the input evenly.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/spatial.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

template <int kAxes>
Outputs Build(Scope& s, const v1::AdaptiveMaxPool& a, const Args& args) {
  const bool unbatched = args[0].value.rank() == kAxes + 1;
  if (unbatched) s.MixRows();  // axis 0 holds channels
  Value x = unbatched ? ExpandDims(args[0], 0) : args[0].value;
  if (x.rank() != kAxes + 2)
    return {s.Fail(absl::StrCat("input: must have ", kAxes + 2, " axes, got ", ShapeString(x.shape())))};
  const std::vector<int64_t> size = PerAxis(s, "output_size", a.output_size(), kAxes, std::vector<int64_t>(kAxes, 0));
  PoolAttrs at;
  for (int i = 0; i < kAxes; ++i) at.axes.push_back(AdaptiveWindows(s, size[i], x.dim(i + 2)));
  if (!s.ok()) return {Value{s.graph(), -1}};
  const MaxPoolResult y = MaxPool(ToChannelsLast(x), at);
  const auto back = [&](Value v) {
    v = ToChannelsFirst(v);
    return unbatched ? Squeeze(v, 0) : v;
  };
  Outputs out{back(y.y)};
  if (a.return_indices()) out.push_back(back(Cast(y.position, DType::kI64)));
  return out;
}

}  // namespace

Components AdaptiveMaxPool() {
  const auto samples = [](Component c, Shape x) {
    return std::move(c)
        .Shapes("x[N, C, spatial...] -> y[N, C, spatial'...], indices[N, C, spatial'...]")
        .Takes(kFloats)
        .With({"output_size: 1", {x}, v1::PYTORCH})
        .With({"output_size: 2 return_indices: true", {x}, v1::PYTORCH})
        .With({"output_size: 0", {x}, v1::PYTORCH});
  };
  return {samples(Layer<v1::AdaptiveMaxPool>("adaptive_max_pool1d", &Build<1>), {2, 3, 5}),
          samples(Layer<v1::AdaptiveMaxPool>("adaptive_max_pool2d", &Build<2>), {2, 3, 4, 5}),
          samples(Layer<v1::AdaptiveMaxPool>("adaptive_max_pool3d", &Build<3>), {1, 2, 3, 4, 3})};
}

}  // namespace strata::nn
