// Keras' padding with zeros.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/pad.h"

namespace strata::nn {
namespace {

template <int kAxes>
Outputs Build(Scope& s, const v1::ZeroPadding& a, const Args& args) {
  Value x = args[0];
  if (x.rank() != kAxes + 2)
    return {s.Fail(absl::StrCat("input: must have ", kAxes + 2, " axes, got ", ShapeString(x.shape())))};
  std::vector<int64_t> lo, hi;
  if (!KerasPairs(s, "padding", a.padding(), kAxes, &lo, &hi)) return {Value{s.graph(), -1}};
  const int first = a.data_format() == v1::CHANNELS_FIRST ? 2 : 1;
  for (int i = 0; i < kAxes; ++i) x = PadAxis(s, PadKind::kZero, x, first + i, lo[i], hi[i]);
  return {x};
}

template <int kAxes>
Component MakeZeroPadding() {
  return Layer<v1::ZeroPadding>(absl::StrCat("zero_padding", kAxes, "d"), &Build<kAxes>)
      .Shapes("x[N, spatial..., C] -> y[N, spatial'..., C]")
      .With({"", {PadSampleShape(kAxes, true)}, v1::KERAS})
      .With({"padding: " + PadSamplePairs(1, 0, kAxes), {PadSampleShape(kAxes, true)}, v1::KERAS})
      .With({"padding: 2 data_format: CHANNELS_FIRST", {PadSampleShape(kAxes, false)}, v1::KERAS});
}

}  // namespace

Components ZeroPadding() { return {MakeZeroPadding<1>(), MakeZeroPadding<2>(), MakeZeroPadding<3>()}; }

}  // namespace strata::nn
