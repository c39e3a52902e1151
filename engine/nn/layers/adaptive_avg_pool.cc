// PyTorch's mean of windows that cover the input evenly.
#include "engine/nn/component.h"
#include "engine/nn/layers/pool.h"
#include "engine/nn/layers/spatial.h"

namespace strata::nn {
namespace {

template <int kAxes>
Outputs Build(Scope& s, const v1::AdaptiveAvgPool& a, const Args& args) {
  const PoolFrame f = EnterPool(s, args[0], kAxes, v1::CHANNELS_FIRST);
  if (!f.x) return {f.x};
  const std::vector<int64_t> size = PerAxis(s, "output_size", a.output_size(), kAxes, std::vector<int64_t>(kAxes, 0));
  PoolAttrs at;
  std::vector<std::vector<int64_t>> counted;
  for (int i = 0; i < kAxes; ++i) {
    at.axes.push_back(AdaptiveWindows(s, size[i], f.x.dim(i + 1)));
    counted.push_back(at.axes.back().length);
  }
  if (!s.ok()) return {Value{s.graph(), -1}};
  return {f.Back(WindowMeans(f.x, at, counted))};
}

}  // namespace

Components AdaptiveAvgPool() {
  const std::string shapes = "x[N, C, spatial...] -> y[N, C, spatial'...]";
  return {Layer<v1::AdaptiveAvgPool>("adaptive_avg_pool1d", &Build<1>)
              .Shapes(shapes)
              .Takes(kFloats)
              .With({"output_size: 3", {{2, 3, 7}}, v1::PYTORCH})
              .With({"output_size: 1", {{1, 2, 5}}, v1::PYTORCH})
              .With({"output_size: 5", {{1, 2, 3}}, v1::PYTORCH}),
          Layer<v1::AdaptiveAvgPool>("adaptive_avg_pool2d", &Build<2>)
              .Shapes(shapes)
              .Takes(kFloats)
              .With({"output_size: 1", {{2, 3, 4, 5}}, v1::PYTORCH})
              .With({"output_size: [2, 3]", {{1, 2, 5, 4}}, v1::PYTORCH})
              .With({"output_size: [0, 2]", {{1, 1, 3, 3}}, v1::PYTORCH}),
          Layer<v1::AdaptiveAvgPool>("adaptive_avg_pool3d", &Build<3>)
              .Shapes(shapes)
              .Takes(kFloats)
              .With({"output_size: 1", {{1, 2, 2, 3, 2}}, v1::PYTORCH})
              .With({"output_size: 2", {{1, 1, 3, 2, 5}}, v1::PYTORCH})
              .With({"output_size: [1, 2, 3]", {{1, 1, 3, 3, 3}}, v1::PYTORCH})};
}

}  // namespace strata::nn
