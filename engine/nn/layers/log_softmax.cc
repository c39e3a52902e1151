// The logarithm of the softmax over one axis.
#include "engine/nn/component.h"
#include "engine/nn/layers/activations.h"

namespace strata::nn {

Value LogSoftmaxOf(Scope& s, const v1::LogSoftmax& a, Value x) {
  const int axis = SoftmaxAxis(s, a.has_axis(), a.axis(), x);
  if (axis < 0) return {s.graph(), -1};
  return x.rank() == 0 ? x * 0 : LogSoftmax(x, axis);
}

namespace {

Outputs BuildLogSoftmax(Scope& s, const v1::LogSoftmax& a, const Args& args) {
  return {LogSoftmaxOf(s, a, args[0].value)};
}

}  // namespace

Components LogSoftmax() {
  return Layer<v1::LogSoftmax>("log_softmax", &BuildLogSoftmax)
      .Shapes("x[...] -> y[...]")
      .Mask(MaskRule::kPass)
      .Takes(kFloats)
      .With("axis: -1", {{2, 3}})
      .With("axis: 1", {{2, 3, 4}})
      .With("axis: 1", {{1, 10}});
}

}  // namespace strata::nn
