// Keras' cropping.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/pad.h"

namespace strata::nn {
namespace {

template <int kAxes>
Outputs Build(Scope& s, const v1::Cropping& a, const Args& args) {
  Value x = args[0];
  if (x.rank() != kAxes + 2)
    return {s.Fail(absl::StrCat("input: must have ", kAxes + 2, " axes, got ", ShapeString(x.shape())))};
  std::vector<int64_t> lo, hi;
  google::protobuf::RepeatedField<int64_t> given = a.cropping();
  if (given.empty()) given.Add(kAxes == 2 ? 0 : 1);
  if (!KerasPairs(s, "cropping", given, kAxes, &lo, &hi)) return {Value{s.graph(), -1}};
  const int first = a.data_format() == v1::CHANNELS_FIRST ? 2 : 1;
  for (int i = 0; i < kAxes && s.ok(); ++i) x = CropAxis(s, x, first + i, lo[i], hi[i]);
  return {x};
}

template <int kAxes>
Component MakeCropping() {
  return Layer<v1::Cropping>(absl::StrCat("cropping", kAxes, "d"), &Build<kAxes>)
      .Shapes("x[N, spatial..., C] -> y[N, spatial'..., C]")
      .With({"", {PadSampleShape(kAxes, true)}, v1::KERAS})
      .With({"cropping: " + PadSamplePairs(1, 0, kAxes), {PadSampleShape(kAxes, true)}, v1::KERAS})
      .With({"cropping: 1 data_format: CHANNELS_FIRST", {PadSampleShape(kAxes, false)}, v1::KERAS});
}

}  // namespace

Components Cropping() { return {MakeCropping<1>(), MakeCropping<2>(), MakeCropping<3>()}; }

}  // namespace strata::nn
