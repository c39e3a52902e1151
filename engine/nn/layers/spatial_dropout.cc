// Dropout of whole channels.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/dropout.h"

namespace strata::nn {
namespace {

// One draw for each sample and channel. PyTorch's input may come without a batch; a rank of two is (N, C) there.
template <int kAxes>
Outputs Build(Scope& s, const v1::SpatialDropout& a, const Args& args) {
  const Value x = args[0];
  if (!s.pytorch() && x.rank() != kAxes + 2) {
    return {s.Fail(absl::StrCat("input: must have ", kAxes + 2, " axes, got ", ShapeString(x.shape())))};
  }
  if (s.pytorch() && x.rank() < 2)
    return {s.Fail(absl::StrCat("input: must have two axes or more, got ", ShapeString(x.shape())))};
  if (s.pytorch() && kAxes == 1 && x.rank() > 3)
    return {s.Fail(absl::StrCat("input: must have 2 or 3 axes, got ", ShapeString(x.shape())))};
  if (!s.training()) return {x};
  Shape shape(x.rank(), 1);
  shape[0] = x.dim(0);
  if (s.pytorch()) {
    // Without a batch, axis 0 holds the channels.
    if (x.rank() != kAxes + 1) shape[1] = x.dim(1);
  } else {
    const int channels = a.data_format() == v1::CHANNELS_FIRST ? 1 : x.rank() - 1;
    shape[channels] = x.dim(channels);
  }
  return {DropWith(s, x, a.rate(), shape, "dropout")};
}

}  // namespace

Components SpatialDropout() {
  const auto samples = [](Component c, Shape x) {
    return std::move(c)
        .Shapes("x[...] -> y[...]")
        .TakesInTraining(kFloats)
        .Mask(MaskRule::kPass)
        .With("rate: 0.5", {x})
        .With("rate: 0.25", {x})
        .With({"rate: 0.5 data_format: CHANNELS_FIRST", {x}, v1::KERAS})
        .With({"rate: 0", {x}, v1::PYTORCH});
  };
  return {samples(Layer<v1::SpatialDropout>("spatial_dropout1d", &Build<1>), {3, 4, 5}),
          samples(Layer<v1::SpatialDropout>("spatial_dropout2d", &Build<2>), {3, 4, 2, 3}),
          samples(Layer<v1::SpatialDropout>("spatial_dropout3d", &Build<3>), {3, 4, 2, 1, 3})};
}

}  // namespace strata::nn
