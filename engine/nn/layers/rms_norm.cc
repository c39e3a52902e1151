// Division by the root mean square of the last axes.
#include <limits>

#include "engine/nn/component.h"
#include "engine/nn/layers/normalization.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::RmsNorm& a, const Args& args) {
  const Value x = args[0];
  const std::vector<int64_t> axes = LastAxes(s, a.normalized_shape(), x);
  if (axes.empty()) return {Value{s.graph(), -1}};
  const double epsilon = a.has_epsilon() ? a.epsilon() : std::numeric_limits<float>::epsilon();
  const Value y = x * (1.0 / Sqrt(ReduceMean(Square(x), axes, true) + epsilon));
  const Shape shape(a.normalized_shape().begin(), a.normalized_shape().end());
  return {WeightBias(s, a.affine(), false, shape, shape).Apply(y)};
}

}  // namespace

Components RmsNorm() {
  return Layer<v1::RmsNorm>("rms_norm", &Build)
      .Shapes("x[...] -> y[...]")
      .Takes(kFloats, kAnyAsFloats)
      .With({"normalized_shape: 5", {{2, 5}}, v1::PYTORCH})
      .With({"normalized_shape: [3, 4] epsilon: 0.1", {{2, 3, 4}}, v1::PYTORCH})
      .With({"normalized_shape: 2 affine: false", {{1, 3, 2}}, v1::PYTORCH});
}

}  // namespace strata::nn
