// Keras' layer around an activation.
#include "engine/nn/component.h"
#include "engine/nn/layers/activations.h"
#include "engine/nn/schema.h"
#include "engine/nn/types.h"

namespace strata::nn {
namespace {

// The argument as the activation's own layer takes it. The linear one is no layer and takes everything.
Args TakeLike(Scope& s, const v1::Activation& activation, const Args& args) {
  const auto* kind = KindOf(activation);
  const Component* layer = kind == nullptr || activation.has_linear() ? nullptr : FindLayer(kind->name());
  return layer == nullptr ? args : TakeTypes(s, *layer, args);
}

Outputs BuildActivation(Scope& s, const v1::ActivationLayer& a, const Args& args) {
  const Args taken = TakeLike(s, a.activation(), args);
  if (!s.ok()) return {Value{s.graph(), -1}};
  Annotated y = Activate(s, a.activation(), taken[0]);
  y.mask = args[0].mask;
  return {y};
}

}  // namespace

Components Activation() {
  return Layer<v1::ActivationLayer>("activation", &BuildActivation)
      .Shapes("x[...] -> y[...]")
      .Mask(MaskRule::kConsume)
      .With({"activation { relu {} }", {{2, 3}}, v1::KERAS})
      .With({"activation { softmax {} }", {{4, 3}}, v1::KERAS})
      .With({"activation { elu { alpha: 2 } }", {{1, 2, 5}}, v1::KERAS});
}

}  // namespace strata::nn
