// Keras' TimeDistributed: a layer applied to every step.
#include "absl/strings/str_cat.h"
#include "engine/nn/build.h"
#include "engine/nn/component.h"
#include "engine/nn/schema.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::TimeDistributed& a, const Args& args) {
  const Value x = args[0];
  if (!a.layer().has_custom() && !StateShapes(a.layer(), 1).empty()) {  // a custom cell says itself what it takes
    return {s.Fail(absl::StrCat("layer|input: must be a layer of one input, got ", KindOf(a.layer())->name()))};
  }
  if (x.rank() < 3) return {s.Fail(absl::StrCat("input: must have 3 axes or more, got ", ShapeString(x.shape())))};
  const int64_t batch = x.dim(0), steps = x.dim(1);
  Shape shape(x.shape().begin() + 1, x.shape().end());
  shape[0] = batch * steps;
  Args inner;
  inner.positional.push_back(Reshape(x, shape));
  if (args[0].mask) {
    Shape mask(args[0].mask.shape().begin() + 1, args[0].mask.shape().end());
    mask[0] = batch * steps;
    // A mask of steps is not the layer's; one with further axes is.
    if (mask.size() > 1) inner.positional[0].mask = Reshape(args[0].mask, mask);
  }
  Scope inner_scope = s.At("layer");
  Outputs out = BuildLayer(inner_scope, a.layer(), inner);
  if (!s.ok()) return {Value{s.graph(), -1}};
  for (Annotated& o : out) {
    if (o.value.rank() == 0 || o.value.dim(0) != batch * steps) {
      return {s.Fail(
          absl::StrCat("layer: must keep the batch axis of ", batch * steps, ", got ", ShapeString(o.value.shape())))};
    }
    Shape y = o.value.shape();
    y[0] = steps;
    y.insert(y.begin(), batch);
    o = Reshape(o.value, y);
  }
  out[0].mask = args[0].mask;
  return out;
}

}  // namespace

Components TimeDistributed() {
  return Layer<v1::TimeDistributed>("time_distributed", &Build)
      .Shapes("x[N, T, a...] -> y[N, T, b...]")
      .Mask(MaskRule::kConsume)
      .Named(v1::KERAS, {"mask"})
      .With({"layer { linear { units: 3 } }", {{2, 3, 4}}, v1::KERAS})
      .With({"layer { conv2d { filters: 2 kernel_size: 2 } }", {{1, 2, 3, 3, 1}}, v1::KERAS})
      .With({"layer { flatten {} }", {{2, 1, 2, 3}}, v1::KERAS});
}

}  // namespace strata::nn
