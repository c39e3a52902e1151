// Replacement of small inputs. The gradient at the threshold is zero.
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Outputs Build(Scope&, const v1::Threshold& a, const Args& args) {
  const Value x = args[0];
  return {Select(LessEqual(x, Like(x, a.threshold())), Like(x, a.value()), x)};
}

}  // namespace

Components Threshold() {
  return Layer<v1::Threshold>("threshold", &Build)
      .Shapes("x[...] -> y[...]")
      .Takes(kNumbers)
      .With({"threshold: 0.1 value: 20", {{2, 3}}, v1::PYTORCH})
      .With({"threshold: 0 value: 0", {{7, 1}}, v1::PYTORCH})
      .With({"threshold: -0.5 value: -1", {{1, 2, 5}}, v1::PYTORCH});
}

}  // namespace strata::nn
