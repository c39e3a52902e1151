// The maximum of windows.
#include "engine/nn/component.h"
#include "engine/nn/layers/pool.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

template <int kAxes>
Outputs Build(Scope& s, const v1::MaxPool& a, const Args& args) {
  const PoolFrame f = EnterPool(s, args[0], kAxes, a.data_format());
  if (!f.x) return {f.x};
  const PoolRule r = PoolRuleOf(s, a, f.x, kAxes);
  PoolAttrs at;
  for (int i = 0; i < kAxes && s.ok(); ++i) at.axes.push_back(WindowsOf(s, r, i, f.x.dim(i + 1)).axis);
  if (!s.ok()) return {Value{s.graph(), -1}};
  at.near_ties = !s.pytorch() && kAxes == 3;
  const MaxPoolResult y = MaxPool(f.x, at);
  Outputs out{f.Back(y.y)};
  if (a.return_indices()) out.push_back(f.Back(Cast(y.position, DType::kI64)));
  return out;
}

}  // namespace

Components MaxPool() {
  const std::string shapes =
      "x[N, C, spatial...] -> y[N, C, spatial'...], indices[N, C, spatial'...] (PyTorch); "
      "x[N, spatial..., C] -> y[N, spatial'..., C] (Keras)";
  return {
      Layer<v1::MaxPool>("max_pool1d", &Build<1>)
          .Shapes(shapes)
          .Takes(kFloats, kNumbers)
          .With({"pool_size: 2", {{2, 3, 7}}, v1::PYTORCH})
          .With({"pool_size: 3 stride: 2 padding { mode: SAME }", {{2, 6, 3}}, v1::KERAS})
          .With({"pool_size: 2 dilation: 2 padding { size { values: 1 } } ceil_mode: true", {{1, 2, 6}}, v1::PYTORCH}),
      Layer<v1::MaxPool>("max_pool2d", &Build<2>)
          .Shapes(shapes)
          .Takes(kNumbers)
          .With({"pool_size: 2", {{2, 3, 4, 5}}, v1::PYTORCH})
          .With({"pool_size: [2, 3] stride: 1 padding { mode: SAME }", {{2, 3, 4, 2}}, v1::KERAS})
          .With({"pool_size: 3 stride: 2 padding { size { values: 1 } } return_indices: true",
                 {{1, 2, 5, 5}},
                 v1::PYTORCH}),
      Layer<v1::MaxPool>("max_pool3d", &Build<3>)
          .Shapes(shapes)
          .Takes(kNumbers, kFloats)
          .With({"pool_size: 2", {{1, 2, 4, 3, 2}}, v1::PYTORCH})
          .With({"pool_size: 2 padding { mode: SAME }", {{1, 3, 2, 3, 2}}, v1::KERAS})
          .With({"pool_size: [1, 2, 2] stride: 1", {{1, 1, 2, 3, 3}}, v1::PYTORCH})};
}

}  // namespace strata::nn
