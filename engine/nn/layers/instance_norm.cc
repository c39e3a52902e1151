// PyTorch's normalisation of each channel within a sample.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/normalization.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Running statistics are means over the batch of each sample's; the variance has Bessel's correction. PyTorch passes
// its momentum on as it is, so there is no cumulative average here.
void UpdateInstance(Scope& s, const v1::InstanceNorm& a, const Moments& m, Value mean, Value variance) {
  const auto blend = [&](Value old, Value batch) {
    batch = ReduceMean(Reshape(batch, {batch.dim(0), batch.dim(1)}), {0});
    return old * (1 - a.momentum()) + batch * a.momentum();
  };
  s.SetState(mean, blend(mean, m.mean));
  s.SetState(variance, blend(variance, m.variance * (m.count / (m.count - 1))));
}

template <int kAxes>
Outputs Build(Scope& s, const v1::InstanceNorm& a, const Args& args) {
  const bool unbatched = args[0].value.rank() == kAxes + 1;
  if (unbatched) s.MixRows();  // axis 0 holds channels
  const Value x = unbatched ? ExpandDims(args[0], 0) : args[0].value;
  if (x.rank() != kAxes + 2) {
    return {s.Fail(absl::StrCat("input: must have ", kAxes + 2, " axes, got ", ShapeString(args[0].value.shape())))};
  }
  const int64_t channels = x.dim(1);
  if (a.num_features() != channels && (a.affine() || a.track_running_stats())) {
    return {s.Fail(
        absl::StrCat("num_features|input: must equal the input's channels, ", a.num_features(), ", got ", channels))};
  }
  std::vector<int64_t> axes;
  for (int i = 2; i < x.rank(); ++i) axes.push_back(i);
  Shape spread(x.rank(), 1);
  spread[1] = channels;
  Value mean, variance;
  if (a.track_running_stats()) {
    mean = s.State("running_mean", {channels}, 0);
    variance = s.State("running_var", {channels}, 1);
    // PyTorch keeps this buffer and never counts.
    s.State("num_batches_tracked", {}, 0, DType::kI64);
  }
  Moments m;
  if (mean && !s.training()) {
    m = {Reshape(mean, spread), Reshape(variance, spread)};
  } else {
    if (NumElements(Shape(x.shape().begin() + 2, x.shape().end())) == 1) {
      return {s.Fail(absl::StrCat("input: must have more than one value per channel, got ", ShapeString(x.shape())))};
    }
    m = MomentsOf(x, axes);
    if (mean) UpdateInstance(s, a, m, mean, variance);
  }
  const ScaleOffset p = WeightBias(s, a.affine(), a.use_bias(), {channels}, spread);
  const Value y = Normalize(x, m, a.epsilon(), p.scale, p.offset);
  return {unbatched ? Squeeze(y, 0) : y};
}

}  // namespace

Components InstanceNorm() {
  const auto samples = [](Component c, Shape x) {
    return std::move(c)
        .Shapes("x[N, num_features, spatial...] -> y[N, num_features, spatial...]")
        .Takes(kFloats)
        .With({"num_features: 3", {x}, v1::PYTORCH})
        .With({"num_features: 3 affine: true epsilon: 0.1", {x}, v1::PYTORCH})
        .With({"num_features: 3 track_running_stats: true", {x}, v1::PYTORCH});
  };
  return {samples(Layer<v1::InstanceNorm>("instance_norm1d", &Build<1>), {2, 3, 5}),
          samples(Layer<v1::InstanceNorm>("instance_norm2d", &Build<2>), {2, 3, 2, 4}),
          samples(Layer<v1::InstanceNorm>("instance_norm3d", &Build<3>), {2, 3, 2, 1, 3})};
}

}  // namespace strata::nn
