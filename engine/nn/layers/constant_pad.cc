// PyTorch's padding with a number.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/pad.h"

namespace strata::nn {
namespace {

template <int kAxes>
Outputs Build(Scope& s, const v1::ConstantPad& a, const Args& args) {
  // Integers take what PyTorch casts the value to.
  const DType type = args[0].value.dtype();
  const double value = type == DType::kBool ? a.value() != 0 : IsFloat(type) ? a.value() : std::trunc(a.value());
  return PadPairs(s, a.padding(), args, kAxes, PadKind::kZero, value);
}

template <int kAxes>
Component MakeConstantPad() {
  return Layer<v1::ConstantPad>(absl::StrCat("constant_pad", kAxes, "d"), &Build<kAxes>)
      .Shapes("x[N, C, spatial...] -> y[N, C, spatial'...]")
      .With({"padding: 1 value: 0.5", {PadSampleShape(kAxes, false)}, v1::PYTORCH})
      .With({"padding: " + PadSamplePairs(2, 1, kAxes) + " value: 0.5", {PadSampleShape(kAxes, false)}, v1::PYTORCH})
      .With({"padding: -1 value: 0.5", {PadSampleShape(kAxes, false)}, v1::PYTORCH});
}

}  // namespace

Components ConstantPad() { return {MakeConstantPad<1>(), MakeConstantPad<2>(), MakeConstantPad<3>()}; }

}  // namespace strata::nn
