// Keras' Masking: padding becomes a mask.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::Masking& a, const Args& args) {
  const Value x = args[0];
  if (x.rank() < 2) return {s.Fail(absl::StrCat("input: must have 2 axes or more, got ", ShapeString(x.shape())))};
  const Value other = Cast(Not(Equal(x, Like(x, a.mask_value()))), DType::kF32);
  const Value kept = ReduceMax(other, {-1});
  Annotated y = x * Cast(ExpandDims(kept, kept.rank()), x.dtype());
  y.mask = Greater(kept, Like(kept, 0));
  return {y};
}

}  // namespace

Components Masking() {
  return Layer<v1::Masking>("masking", &Build)
      .Shapes("x[N, ..., D] -> y[N, ..., D]")
      .Takes(kFloats)
      .Mask(MaskRule::kConsume)
      .With({"", {{2, 3, 4}}, v1::KERAS})
      .With({"mask_value: -1", {{3, 1, 2}}, v1::KERAS})
      .With({"mask_value: 0.5", {{2, 5}}, v1::KERAS});
}

}  // namespace strata::nn
