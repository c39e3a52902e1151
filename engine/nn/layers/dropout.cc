// Dropout: elements (or, with a noise shape, slices) are zeroed with probability `rate`, the others scaled by 1 / (1 -
// rate).
#include "engine/nn/layers/dropout.h"
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {

Shape NoiseShape(Scope& s, Value x, const v1::Ints* noise_shape) {
  Shape shape = x.shape();
  if (noise_shape == nullptr) return shape;
  if (noise_shape->values_size() != x.rank()) {
    s.Fail(absl::StrCat("noise_shape: must have ", x.rank(), " entries, got ", noise_shape->values_size()));
    return shape;
  }
  for (int i = 0; i < x.rank(); ++i) {
    const int64_t size = noise_shape->values(i);
    if (size != -1 && size != 1 && size != x.dim(i)) {
      s.Fail(absl::StrCat("noise_shape[", i, "]: must be 1 or the input's size ", x.dim(i), ", got ", size));
      return shape;
    }
    if (size != -1) shape[i] = size;
  }
  return shape;
}

Value DropWith(Scope& s, Value x, double rate, const Shape& mask_shape, std::string_view purpose) {
  if (!x || rate <= 0) return x;
  const Value zero = Like(x, 0);
  if (rate >= 1) return Full(x.graph, 0, x.shape(), x.dtype());
  const Value u = s.Random(purpose, mask_shape);
  // Kept where u >= rate, as Keras does.
  return Select(GreaterEqual(u, Like(u, rate)), x * (1 / (1 - rate)), zero);
}

namespace {

Outputs BuildDropout(Scope& s, const v1::Dropout& a, const Args& args) {
  const Value x = args[0];
  if (!s.training()) return {x};
  const Shape shape = NoiseShape(s, x, a.has_noise_shape() ? &a.noise_shape() : nullptr);
  if (!s.ok()) return {Value{s.graph(), -1}};
  return {DropWith(s, x, a.rate(), shape, "dropout")};
}

}  // namespace

Components Dropout() {
  return Layer<v1::Dropout>("dropout", &BuildDropout)
      .Shapes("x[...] -> y[...]")
      .TakesInTraining(kFloats)
      .Mask(MaskRule::kPass)
      .With("rate: 0.5", {{4, 6}})
      .With("rate: 0.25", {{3, 5, 2}})
      .With({"rate: 0.5 noise_shape { values: [-1, 1, -1] }", {{3, 5, 2}}, v1::KERAS});
}

}  // namespace strata::nn
