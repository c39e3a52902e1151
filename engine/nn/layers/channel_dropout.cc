// Dropout of whole channels, and AlphaDropout.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/dropout.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// One draw for each sample and channel. PyTorch's input may come without a batch; a rank of two is (N, C) there.
template <int kAxes>
Outputs BuildSpatial(Scope& s, const v1::SpatialDropout& a, const Args& args) {
  const Value x = args[0];
  if (!s.pytorch() && x.rank() != kAxes + 2) {
    return {s.Fail(absl::StrCat("input: must have ", kAxes + 2, " axes, got ", ShapeString(x.shape())))};
  }
  if (s.pytorch() && x.rank() < 2)
    return {s.Fail(absl::StrCat("input: must have two axes or more, got ", ShapeString(x.shape())))};
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

// Dropped elements take alpha' = -scale * alpha of selu; a x + b restores mean and variance.
Outputs BuildAlpha(Scope& s, const v1::AlphaDropout& a, const Args& args) {
  const Value x = args[0];
  const double p = a.rate();
  if (!s.training() || p == 0) return {x};
  if (!IsFloat(x.dtype())) {
    return {s.Fail(absl::StrCat("input: must be floating-point in training, got ", DTypeName(x.dtype())))};
  }
  if (p == 1) return {s.pytorch() ? Full(s.graph(), 0, x.shape(), x.dtype()) : x};
  Shape shape = x.shape();
  if (a.has_noise_shape()) {
    if (a.noise_shape().values_size() != x.rank()) {
      return {
          s.Fail(absl::StrCat("noise_shape: must have ", x.rank(), " entries, got ", a.noise_shape().values_size()))};
    }
    for (int i = 0; i < x.rank(); ++i) {
      if (a.noise_shape().values(i) != -1) shape[i] = a.noise_shape().values(i);
    }
  }
  constexpr double kLimit = -1.6732632423543772848170429916717 * 1.0507009873554804934193349852946;
  const double scale = 1 / std::sqrt((1 - p) * (1 + p * kLimit * kLimit)), offset = -scale * kLimit * p;
  const Value u = s.Random("alpha_dropout", shape);
  return {Select(GreaterEqual(u, Like(u, p)), x * scale + offset, Like(x, scale * kLimit + offset))};
}

}  // namespace

std::vector<Component> ChannelDropoutLayers() {
  std::vector<Component> list;
  const auto samples = [](Component c, Shape x) {
    return std::move(c)
        .Shapes("x[N, C, spatial...] -> y, same shape (Keras: channels last)")
        .Mask(MaskRule::kPass)
        .With("rate: 0.5", {x})
        .With("rate: 0.25", {x})
        .With({"rate: 0.5 data_format: CHANNELS_FIRST", {x}, v1::KERAS})
        .With({"rate: 0", {x}, v1::PYTORCH});
  };
  list.push_back(samples(Layer<v1::SpatialDropout>("spatial_dropout1d", &BuildSpatial<1>), {3, 4, 5}));
  list.push_back(samples(Layer<v1::SpatialDropout>("spatial_dropout2d", &BuildSpatial<2>), {3, 4, 2, 3}));
  list.push_back(samples(Layer<v1::SpatialDropout>("spatial_dropout3d", &BuildSpatial<3>), {3, 4, 2, 1, 3}));
  list.push_back(Layer<v1::AlphaDropout>("alpha_dropout", &BuildAlpha)
                     .Shapes("x[...] -> y[...]")
                     .Mask(MaskRule::kPass)
                     .With("rate: 0.5", {{4, 6}})
                     .With("rate: 0.1", {{3, 5, 2}})
                     .With({"rate: 0.4 noise_shape { values: [-1, 1] }", {{4, 6}}, v1::KERAS}));
  return list;
}

}  // namespace strata::nn
