// Normalisation of some axes within a sample.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/normalization.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::LayerNorm& a, const Args& args) {
  const Value x = args[0];
  if (s.pytorch()) {
    const std::vector<int64_t> axes = LastAxes(s, a.normalized_shape(), x);
    if (axes.empty()) return {Value{s.graph(), -1}};
    const Shape shape(a.normalized_shape().begin(), a.normalized_shape().end());
    return {WeightBias(s, a.affine(), a.use_bias(), shape, shape).Apply(Standardize(x, axes, a.epsilon()))};
  }
  std::vector<int64_t> axes;
  Shape shape, spread(x.rank(), 1);
  for (int64_t axis : a.axis()) {
    axes.push_back(axis < 0 ? axis + x.rank() : axis);
    // Parameters have the axes' sizes in the order of the argument, and are read in the order of the input.
    if (axes.back() >= 0 && axes.back() < x.rank()) shape.push_back(x.dim(static_cast<int>(axes.back())));
  }
  std::sort(axes.begin(), axes.end());
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] < 0 || axes[i] >= x.rank() || (i > 0 && axes[i] == axes[i - 1])) {
      return {s.Fail(absl::StrCat("axis: must name different axes of ", ShapeString(x.shape()), ", got ", axes[i]))};
    }
    spread[axes[i]] = x.dim(static_cast<int>(axes[i]));
    if (axes[i] == 0) s.MixRows();
  }
  return {GammaBeta(s, a, shape, spread).Apply(Standardize(x, axes, a.epsilon()))};
}

}  // namespace

Components LayerNorm() {
  return Layer<v1::LayerNorm>("layer_norm", &Build)
      .Shapes("x[...] -> y[...]")
      .Takes(kFloats, kAnyAsFloats)
      .Mask(MaskRule::kPass)
      .With({"normalized_shape: 5", {{2, 5}}, v1::PYTORCH})
      .With({"normalized_shape: [3, 4] use_bias: false", {{2, 3, 4}}, v1::PYTORCH})
      .With({"axis: [1, 2]", {{2, 3, 4}}, v1::KERAS})
      .With({"scale: false", {{3, 1, 7}}, v1::KERAS});
}

}  // namespace strata::nn
