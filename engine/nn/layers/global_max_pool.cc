// Keras' maximum over all spatial axes. Ties share the gradient.
#include "engine/nn/component.h"
#include "engine/nn/layers/global_pool.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

template <int kAxes>
Outputs BuildMax(Scope& s, const v1::GlobalPool& a, const Args& args) {
  if (!CheckSpatial(s, args[0], kAxes)) return {Value{s.graph(), -1}};
  return {ReduceMax(args[0], SpatialAxes(kAxes, a.data_format()), a.keepdims())};
}

}  // namespace

Components GlobalMaxPool() {
  return {
      GlobalPoolSamples(Layer<v1::GlobalPool>("global_max_pool1d", &BuildMax<1>).Takes(kFloats, kNumbers), {2, 5, 3}),
      GlobalPoolSamples(Layer<v1::GlobalPool>("global_max_pool2d", &BuildMax<2>).Takes(kFloats, kNumbers),
                        {2, 3, 4, 3}),
      GlobalPoolSamples(Layer<v1::GlobalPool>("global_max_pool3d", &BuildMax<3>).Takes(kFloats, kNumbers),
                        {2, 2, 3, 2, 3})};
}

}  // namespace strata::nn
