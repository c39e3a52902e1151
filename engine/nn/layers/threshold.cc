// Replacement of small inputs. The gradient at the threshold is zero.
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Outputs BuildThreshold(Scope&, const v1::Threshold& a, const Args& args) {
  const Value x = args[0];
  return {Select(Greater(x, Like(x, a.threshold())), x, Like(x, a.value()))};
}

Outputs BuildThresholdedRelu(Scope&, const v1::ThresholdedRelu& a, const Args& args) {
  const Value x = args[0];
  return {Select(Greater(x, Like(x, a.theta())), x, Like(x, 0))};
}

}  // namespace

std::vector<Component> ThresholdLayers() {
  std::vector<Component> list;
  list.push_back(Layer<v1::Threshold>("threshold", &BuildThreshold)
                     .Shapes("x[...] -> y[...]")
                     .With({"threshold: 0.1 value: 20", {{2, 3}}, v1::PYTORCH})
                     .With({"threshold: 0 value: 0", {{7, 1}}, v1::PYTORCH})
                     .With({"threshold: -0.5 value: -1", {{1, 2, 5}}, v1::PYTORCH}));
  list.push_back(Layer<v1::ThresholdedRelu>("thresholded_relu", &BuildThresholdedRelu)
                     .Shapes("x[...] -> y[...]")
                     .Mask(MaskRule::kPass)
                     .With({"", {{4, 30}}, v1::KERAS, "inputs are below 1"})
                     .With({"theta: 0.3", {{7, 1}}, v1::KERAS})
                     .With({"theta: 0", {{1, 2, 5}}, v1::KERAS}));
  return list;
}

}  // namespace strata::nn
