// The mean of windows.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/pool.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

template <int kAxes>
Outputs Build(Scope& s, const v1::AvgPool& a, const Args& args) {
  const PoolFrame f = EnterPool(s, args[0], kAxes, a.data_format());
  if (!f.x) return {f.x};
  const PoolRule r = PoolRuleOf(s, a, f.x, kAxes);
  PoolAttrs at;
  std::vector<std::vector<int64_t>> counted;
  const bool with_padding = s.pytorch() && a.count_include_pad();
  for (int i = 0; i < kAxes && s.ok(); ++i) {
    if (kAxes == 3 && s.pytorch() && f.x.dim(i + 1) < r.size[i]) {
      return {s.Fail(
          absl::StrCat("kernel_size|input: must be at most the input's ", f.x.dim(i + 1), " cells, got ", r.size[i]))};
    }
    PoolWindows w = WindowsOf(s, r, i, f.x.dim(i + 1));
    counted.push_back(with_padding ? w.counted : w.axis.length);
    at.axes.push_back(std::move(w.axis));
  }
  if (!s.ok()) return {Value{s.graph(), -1}};
  if (a.has_divisor_override()) {
    if (a.divisor_override() == 0) return {s.Fail("divisor_override: must not be 0, got 0")};
    return {f.Back(SumPool(f.x, at) * (1.0 / static_cast<double>(a.divisor_override())))};
  }
  return {f.Back(WindowMeans(f.x, at, counted))};
}

}  // namespace

Components AvgPool() {
  const std::string shapes =
      "x[N, C, spatial...] -> y[N, C, spatial'...] (PyTorch); x[N, spatial..., C] -> y[N, spatial'..., C] (Keras)";
  return {
      Layer<v1::AvgPool>("avg_pool1d", &Build<1>)
          .Shapes(shapes)
          .Takes(kFloats)
          .With({"pool_size: 2", {{2, 3, 7}}, v1::PYTORCH})
          .With({"pool_size: 3 padding { mode: SAME }", {{2, 7, 3}}, v1::KERAS})
          .With({"pool_size: 3 stride: 2 padding { size { values: 1 } } ceil_mode: true", {{1, 2, 6}}, v1::PYTORCH}),

      Layer<v1::AvgPool>("avg_pool2d", &Build<2>)
          .Shapes(shapes)
          .Takes(kFloats)
          .With({"pool_size: 2", {{2, 3, 4, 5}}, v1::PYTORCH})
          .With({"pool_size: [2, 3] stride: 2 padding { mode: SAME }", {{2, 3, 4, 2}}, v1::KERAS})
          .With({"pool_size: 3 padding { size { values: 1 } } count_include_pad: false", {{1, 2, 5, 5}}, v1::PYTORCH}),
      Layer<v1::AvgPool>("avg_pool3d", &Build<3>)
          .Shapes(shapes)
          .Takes(kFloats)
          .With({"pool_size: 2", {{1, 2, 4, 3, 2}}, v1::PYTORCH})
          .With({"pool_size: 2 padding { mode: SAME }", {{1, 3, 2, 3, 2}}, v1::KERAS})
          .With({"pool_size: 2 divisor_override: 3", {{1, 1, 2, 3, 3}}, v1::PYTORCH})};
}

}  // namespace strata::nn
