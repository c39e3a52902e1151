// Batch normalisation. Training: statistics of the batch with the biased variance, and an update of the running
// statistics; evaluation: the running statistics.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/layers/normalization.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

std::vector<int64_t> AllBut(int rank, int axis) {
  std::vector<int64_t> axes;
  for (int i = 0; i < rank; ++i) {
    if (i != axis) axes.push_back(i);
  }
  return axes;
}

// Running statistics after this batch; the variance that is kept has Bessel's correction.
void UpdatePytorch(Scope& s, const v1::BatchNorm& a, const Moments& m, Value mean, Value variance, Value count) {
  const Value next_count = count + Like(count, 1);
  s.SetState(count, next_count);
  if (m.count == 0) return;  // an empty batch says nothing
  const Value unbiased = m.variance * (m.count / (m.count - 1));
  const auto blend = [&](Value old, Value batch) {
    batch = Reshape(batch, old.shape());
    if (a.cumulative()) return old + (batch - old) / Cast(next_count, old.dtype());
    return old * (1 - a.momentum()) + batch * a.momentum();
  };
  s.SetState(mean, blend(mean, m.mean));
  s.SetState(variance, blend(variance, unbiased));
}

Outputs BuildPytorch(Scope& s, const v1::BatchNorm& a, const Args& args, int min_rank, int max_rank) {
  const Value x = args[0];
  if (x.rank() < min_rank || x.rank() > max_rank) {
    return {
        s.Fail(absl::StrCat("input: must have ", min_rank, min_rank == max_rank ? "" : absl::StrCat(" or ", max_rank),
                            " axes, got ", ShapeString(x.shape())))};
  }
  const int64_t channels = x.dim(1);
  if (a.has_num_features() && a.num_features() != channels) {
    return {s.Fail(absl::StrCat("num_features|input: must equal the input's channels, ", a.num_features(), ", got ",
                                ShapeString(x.shape())))};
  }
  Shape per_channel(x.rank(), 1);
  per_channel[1] = channels;
  Value weight, bias;
  if (a.affine()) {
    weight = Reshape(s.Param("weight", {channels}, {.initializer = ConstantValue(1)}), per_channel);
    if (a.use_bias()) bias = Reshape(s.Param("bias", {channels}, {.initializer = ConstantValue(0)}), per_channel);
  }
  Value mean, variance, count;
  if (a.track_running_stats()) {
    mean = s.State("running_mean", {channels}, 0);
    variance = s.State("running_var", {channels}, 1);
    count = s.State("num_batches_tracked", {}, 0, DType::kI64);
  }
  if (!s.training() && mean) {
    return {Normalize(x, {Reshape(mean, per_channel), Reshape(variance, per_channel)}, a.epsilon(), weight, bias)};
  }
  // Whatever the mode, statistics of the batch need two values and a positive epsilon.
  if (x.num_elements() == channels) {
    return {s.Fail(absl::StrCat("input: must have more than one value per channel, got ", ShapeString(x.shape())))};
  }
  if (a.epsilon() <= 0) return {s.Fail(absl::StrCat("eps: must be > 0 for statistics of a batch, got ", a.epsilon()))};
  s.MixRows();
  const Value zero = Full(s.graph(), 0, per_channel);
  const Moments m = x.num_elements() == 0 ? Moments{zero, zero, 0} : MomentsOf(x, AllBut(x.rank(), 1));
  if (s.training() && mean) UpdatePytorch(s, a, m, mean, variance, count);
  return {Normalize(x, m, a.epsilon(), weight, bias)};
}

Outputs Build1d(Scope& s, const v1::BatchNorm& a, const Args& args) { return BuildPytorch(s, a, args, 2, 3); }
Outputs Build2d(Scope& s, const v1::BatchNorm& a, const Args& args) { return BuildPytorch(s, a, args, 4, 4); }
Outputs Build3d(Scope& s, const v1::BatchNorm& a, const Args& args) { return BuildPytorch(s, a, args, 5, 5); }

// The channel axes, in order; empty after an error.
std::vector<int64_t> ChannelAxes(Scope& s, const v1::BatchNorm& a, Value x) {
  std::vector<int64_t> given(a.axes().begin(), a.axes().end()), axes;
  if (given.empty()) given.push_back(a.axis());
  for (int64_t g : given) {
    const int64_t axis = g < 0 ? g + x.rank() : g;
    if (x.rank() < 2 || axis < 1 || axis >= x.rank() || std::count(axes.begin(), axes.end(), axis) > 0) {
      s.Fail(absl::StrCat("axis: must name different axes behind the batch of ", ShapeString(x.shape()), ", got ", g));
      return {};
    }
    axes.push_back(axis);
  }
  std::sort(axes.begin(), axes.end());
  return axes;
}

Outputs BuildKeras(Scope& s, const v1::BatchNorm& a, const Args& args) {
  const Value x = args[0];
  const std::vector<int64_t> channel_axes = ChannelAxes(s, a, x);
  if (channel_axes.empty()) return {Value{s.graph(), -1}};
  Shape per_channel(x.rank(), 1);
  std::vector<int64_t> reduced;
  for (int i = 0; i < x.rank(); ++i) {
    if (std::count(channel_axes.begin(), channel_axes.end(), i) > 0) {
      per_channel[i] = x.dim(i);
    } else {
      reduced.push_back(i);
    }
  }
  const int64_t axis = channel_axes[0];
  // Several axes: parameters keep the broadcast shape.
  const Shape channels = channel_axes.size() == 1 ? Shape{x.dim(static_cast<int>(axis))} : per_channel;
  Value gamma, beta;
  if (a.scale()) {
    gamma = s.Param("gamma", channels,
                    {.initializer = a.gamma_initializer(),
                     .regularizer = a.has_gamma_regularizer() ? &a.gamma_regularizer() : nullptr,
                     .constraint = a.has_gamma_constraint() ? &a.gamma_constraint() : nullptr});
  }
  if (a.center()) {
    beta = s.Param("beta", channels,
                   {.initializer = a.beta_initializer(),
                    .regularizer = a.has_beta_regularizer() ? &a.beta_regularizer() : nullptr,
                    .constraint = a.has_beta_constraint() ? &a.beta_constraint() : nullptr});
  }
  const Value mean = s.State("moving_mean", channels, a.moving_mean_initializer());
  const Value variance = s.State("moving_variance", channels, a.moving_variance_initializer());
  // TensorFlow's fused kernel serves ranks 4 and 5 with the channels last or first: it keeps the unbiased variance and
  // raises small epsilons.
  const bool fused =
      a.fused() && channel_axes.size() == 1 && (x.rank() == 4 || x.rank() == 5) && (axis == 1 || axis == x.rank() - 1);
  const Value mask = fused ? Value{} : args[0].mask;  // it knows no masks
  if (mask && mask.rank() + 1 != x.rank()) {
    return {s.Fail(absl::StrCat("mask: must have one element for each row of the last axis, got ",
                                ShapeString(mask.shape()), " for ", ShapeString(x.shape())))};
  }
  const double epsilon = fused ? std::max(a.epsilon(), 1.001e-5) : a.epsilon();
  const auto spread = [&](Value v) { return v ? Reshape(v, per_channel) : v; };
  // A frozen layer runs in inference mode.
  if (!s.training() || !s.trainable()) {
    return {Normalize(x, {spread(mean), spread(variance)}, epsilon, spread(gamma), spread(beta))};
  }
  s.MixRows();
  // A masked step counts in none of its channels.
  const Value weights = mask ? Broadcast(ExpandDims(Cast(mask, x.dtype()), mask.rank()), x.shape()) : Value{};
  const Moments m = MomentsOf(x, reduced, weights);
  const double correction = fused && m.count > 1 ? m.count / (m.count - 1) : 1;
  const auto blend = [&](Value old, Value batch) {
    return old - (old - Reshape(batch, old.shape())) * (1 - a.momentum());
  };
  s.SetState(mean, blend(mean, m.mean));
  s.SetState(variance, blend(variance, correction == 1 ? m.variance : m.variance * correction));
  return {Normalize(x, m, epsilon, spread(gamma), spread(beta))};
}

}  // namespace

Components BatchNorm() {
  return {Layer<v1::BatchNorm>("batch_norm1d", &Build1d)
              .Shapes("x[N, C] or x[N, C, L] -> y[N, C] or y[N, C, L]")
              .Takes(kFloats)
              .With({"", {{4, 3}}, v1::PYTORCH})
              .With({"momentum: 0.3 affine: false", {{2, 3, 5}}, v1::PYTORCH})
              .With({"track_running_stats: false", {{3, 1, 2}}, v1::PYTORCH}),
          Layer<v1::BatchNorm>("batch_norm2d", &Build2d)
              .Shapes("x[N, C, H, W] -> y[N, C, H, W]")
              .Takes(kFloats)
              .With({"", {{2, 3, 4, 5}}, v1::PYTORCH})
              .With({"cumulative: true", {{1, 2, 3, 1}}, v1::PYTORCH})
              .With({"use_bias: false", {{3, 17, 1, 2}}, v1::PYTORCH}),
          Layer<v1::BatchNorm>("batch_norm3d", &Build3d)
              .Shapes("x[N, C, D, H, W] -> y[N, C, D, H, W]")
              .Takes(kFloats)
              .With({"", {{2, 3, 2, 3, 2}}, v1::PYTORCH})
              .With({"epsilon: 0.1", {{1, 1, 2, 1, 3}}, v1::PYTORCH})
              .With({"affine: false", {{2, 2, 1, 1, 2}}, v1::PYTORCH}),
          Layer<v1::BatchNorm>("batch_norm", &BuildKeras)
              .Shapes("x[N, ...] -> y[N, ...]")
              .Takes(kFloats, kAnyAsFloats)
              .Mask(MaskRule::kPass)
              .Named(v1::KERAS, {"mask"})
              .With({"", {{4, 3}}, v1::KERAS})
              .With({"axis: 1", {{2, 3, 4, 5}}, v1::KERAS})
              .With({"center: false momentum: 0.5", {{2, 3, 2, 5}}, v1::KERAS})};
}

}  // namespace strata::nn
