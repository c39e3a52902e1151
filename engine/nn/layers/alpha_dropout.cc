// Dropout that keeps the mean and variance of what selu puts out.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/dropout.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Dropped elements take alpha' = -scale * alpha of selu; a x + b restores mean and variance.
Outputs Build(Scope& s, const v1::AlphaDropout& a, const Args& args) {
  const Value x = args[0];
  const double p = a.rate();
  if (!s.training() || p == 0) return {x};
  if (!IsFloat(x.dtype())) {
    return {s.Fail(absl::StrCat("input: must be floating-point in training, got ", DTypeName(x.dtype())))};
  }
  if (p == 1) return {s.pytorch() ? Full(s.graph(), 0, x.shape(), x.dtype()) : x};
  const Shape shape = NoiseShape(s, x, a.has_noise_shape() ? &a.noise_shape() : nullptr);
  if (!s.ok()) return {Value{s.graph(), -1}};
  constexpr double kLimit = -1.6732632423543772848170429916717 * 1.0507009873554804934193349852946;
  const double scale = 1 / std::sqrt((1 - p) * (1 + p * kLimit * kLimit)), offset = -scale * kLimit * p;
  const Value u = s.Random("alpha_dropout", shape);
  return {Select(GreaterEqual(u, Like(u, p)), x * scale + offset, Like(x, scale * kLimit + offset))};
}

}  // namespace

Components AlphaDropout() {
  return Layer<v1::AlphaDropout>("alpha_dropout", &Build)
      .Shapes("x[...] -> y[...]")
      .TakesInTraining(kFloats)
      .Mask(MaskRule::kPass)
      .With("rate: 0.5", {{4, 6}})
      .With("rate: 0.1", {{3, 5, 2}})
      .With({"rate: 0.4 noise_shape { values: [-1, 1] }", {{4, 6}}, v1::KERAS});
}

}  // namespace strata::nn
