// Keras' global pooling: all spatial axes at once. Ties of the maximum share the gradient.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/spatial.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

std::vector<int64_t> SpatialAxes(int axes, v1::DataFormat format) {
  std::vector<int64_t> list;
  for (int i = 0; i < axes; ++i) list.push_back(i + (format == v1::CHANNELS_FIRST ? 2 : 1));
  return list;
}

bool CheckRank(Scope& s, Value x, int axes) {
  if (x.rank() == axes + 2) return true;
  s.Fail(absl::StrCat("input: must have ", axes + 2, " axes, got ", ShapeString(x.shape())));
  return false;
}

template <int kAxes>
Outputs BuildMax(Scope& s, const v1::GlobalPool& a, const Args& args) {
  if (!CheckRank(s, args[0], kAxes)) return {Value{s.graph(), -1}};
  return {ReduceMax(args[0], SpatialAxes(kAxes, a.data_format()), a.keepdims())};
}

template <int kAxes>
Outputs BuildAvg(Scope& s, const v1::GlobalPool& a, const Args& args) {
  const Value x = args[0], mask = args[0].mask;
  if (!CheckRank(s, x, kAxes)) return {Value{s.graph(), -1}};
  const std::vector<int64_t> axes = SpatialAxes(kAxes, a.data_format());
  if (kAxes == 1 && mask) {  // the mean over the steps that count
    const Value m = Cast(ExpandDims(mask, a.data_format() == v1::CHANNELS_FIRST ? 1 : 2), x.dtype());
    return {ReduceSum(x * m, axes, a.keepdims()) / ReduceSum(m, axes, a.keepdims())};
  }
  return {ReduceMean(x, axes, a.keepdims())};
}

}  // namespace

std::vector<Component> GlobalPoolLayers() {
  std::vector<Component> list;
  const auto samples = [](Component c, Shape x) {
    Shape one = x;
    one[0] = 1;
    Shape thin = x;
    thin.back() = 1;
    return std::move(c)
        .Shapes("x[N, spatial..., C] -> y[N, C]")
        .With({"", {x}, v1::KERAS})
        .With({"keepdims: true", {one}, v1::KERAS})
        .With({"data_format: CHANNELS_FIRST", {thin}, v1::KERAS});
  };
  list.push_back(samples(Layer<v1::GlobalPool>("global_max_pool1d", &BuildMax<1>), {2, 5, 3}));
  list.push_back(samples(Layer<v1::GlobalPool>("global_max_pool2d", &BuildMax<2>), {2, 3, 4, 3}));
  list.push_back(samples(Layer<v1::GlobalPool>("global_max_pool3d", &BuildMax<3>), {2, 2, 3, 2, 3}));
  list.push_back(samples(
      Layer<v1::GlobalPool>("global_avg_pool1d", &BuildAvg<1>).Mask(MaskRule::kConsume).Named(v1::KERAS, {"mask"}),
      {2, 5, 3}));
  list.push_back(samples(Layer<v1::GlobalPool>("global_avg_pool2d", &BuildAvg<2>), {2, 3, 4, 3}));
  list.push_back(samples(Layer<v1::GlobalPool>("global_avg_pool3d", &BuildAvg<3>), {2, 2, 3, 2, 3}));
  return list;
}

}  // namespace strata::nn
