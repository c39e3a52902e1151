// Keras' relu above a threshold. The gradient at the threshold is zero.
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Outputs Build(Scope&, const v1::ThresholdedRelu& a, const Args& args) {
  const Value x = args[0];
  return {Select(Greater(x, Like(x, a.theta())), x, Like(x, 0))};
}

}  // namespace

Components ThresholdedRelu() {
  return Layer<v1::ThresholdedRelu>("thresholded_relu", &Build)
      .Shapes("x[...] -> y[...]")
      .Takes(kFloats)
      .Mask(MaskRule::kPass)
      .With({"", {{4, 30}}, v1::KERAS, "inputs are below 1"})
      .With({"theta: 0.3", {{7, 1}}, v1::KERAS})
      .With({"theta: 0", {{1, 2, 5}}, v1::KERAS});
}

}  // namespace strata::nn
