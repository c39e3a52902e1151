// Keras' mean over all spatial axes.
#include "engine/nn/component.h"
#include "engine/nn/layers/global_pool.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

template <int kAxes>
Outputs BuildAverage(Scope& s, const v1::GlobalPool& a, const Args& args) {
  const Value x = args[0], mask = args[0].mask;
  if (!CheckSpatial(s, x, kAxes)) return {Value{s.graph(), -1}};
  const std::vector<int64_t> axes = SpatialAxes(kAxes, a.data_format());
  if (kAxes == 1 && mask) {  // the mean over the steps that count
    const Value m = Cast(ExpandDims(mask, a.data_format() == v1::CHANNELS_FIRST ? 1 : 2), x.dtype());
    return {ReduceSum(x * m, axes, a.keepdims()) / ReduceSum(m, axes, a.keepdims())};
  }
  return {ReduceMean(x, axes, a.keepdims())};
}

}  // namespace

Components GlobalAvgPool() {
  return {GlobalPoolSamples(Layer<v1::GlobalPool>("global_avg_pool1d", &BuildAverage<1>)
                                .Takes(kAnyType, {Take::kKeep, Take::kCast})
                                .Mask(MaskRule::kConsume)
                                .Named(v1::KERAS, {"mask"}),
                            {2, 5, 3}),
          GlobalPoolSamples(
              Layer<v1::GlobalPool>("global_avg_pool2d", &BuildAverage<2>).Takes(kAnyType, {Take::kKeep, Take::kCast}),
              {2, 3, 4, 3}),
          GlobalPoolSamples(
              Layer<v1::GlobalPool>("global_avg_pool3d", &BuildAverage<3>).Takes(kAnyType, {Take::kKeep, Take::kCast}),
              {2, 2, 3, 2, 3})};
}

}  // namespace strata::nn
