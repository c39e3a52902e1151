// Normalisation within a sample: group, layer, root mean square, instance.
#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/layers/normalization.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {

Moments MomentsOf(Value x, const std::vector<int64_t>& axes, Value weights) {
  Moments m;
  for (int64_t a : axes) m.count *= static_cast<double>(x.dim(static_cast<int>(a)));
  Value total;
  if (weights) {
    const Value sum = ReduceSum(weights, axes, true);
    total = Select(Equal(sum, Like(sum, 0)), Like(sum, 1), sum);
  }
  // Divided, not multiplied by a rounded 1 / count: the mean of equal numbers must be that number.
  const auto mean = [&](Value v) {
    return weights ? ReduceSum(v * weights, axes, true) / total : ReduceSum(v, axes, true) / m.count;
  };
  m.mean = mean(x);
  // The variance's derivative by the mean is zero: the sum of x - mean. Saying so saves a pass over x in the backward
  // pass.
  m.variance = mean(Square(x - Detach(m.mean)));
  return m;
}

Value Normalize(Value x, const Moments& m, double epsilon, Value scale, Value offset) {
  Value factor = 1.0 / Sqrt(m.variance + epsilon);
  if (scale) factor = factor * scale;
  const Value y = (x - m.mean) * factor;
  return offset ? y + offset : y;
}

Value Standardize(Value x, const std::vector<int64_t>& axes, double epsilon, Value weights) {
  return Normalize(x, MomentsOf(x, axes, weights), epsilon);
}

Value LayerNormOf(Scope& s, Value x, double epsilon, bool use_bias) {
  Value y = Standardize(x, {x.rank() - 1}, epsilon);
  y = y * s.Param("weight", {x.dim(-1)}, {.initializer = ConstantValue(1)});
  return use_bias ? y + s.Param("bias", {x.dim(-1)}, {.initializer = ConstantValue(0)}) : y;
}

namespace {

// What follows the standardisation; either may be empty.
struct ScaleOffset {
  Value scale, offset;
};

// gamma and beta of Keras, parameters of `shape`, spread over the values as `spread`.
template <typename M>
ScaleOffset GammaBeta(Scope& s, const M& a, const Shape& shape, const Shape& spread) {
  ScaleOffset p;
  if (a.scale()) {
    p.scale = Reshape(s.Param("gamma", shape,
                              {.initializer = a.gamma_initializer(),
                               .regularizer = a.has_gamma_regularizer() ? &a.gamma_regularizer() : nullptr,
                               .constraint = a.has_gamma_constraint() ? &a.gamma_constraint() : nullptr}),
                      spread);
  }
  if (a.center()) {
    p.offset = Reshape(s.Param("beta", shape,
                               {.initializer = a.beta_initializer(),
                                .regularizer = a.has_beta_regularizer() ? &a.beta_regularizer() : nullptr,
                                .constraint = a.has_beta_constraint() ? &a.beta_constraint() : nullptr}),
                       spread);
  }
  return p;
}

// weight and bias of PyTorch.
ScaleOffset WeightBias(Scope& s, bool affine, bool use_bias, const Shape& shape, const Shape& spread) {
  ScaleOffset p;
  if (affine) p.scale = Reshape(s.Param("weight", shape, {.initializer = ConstantValue(1)}), spread);
  if (affine && use_bias) p.offset = Reshape(s.Param("bias", shape, {.initializer = ConstantValue(0)}), spread);
  return p;
}

Value Apply(Value y, const ScaleOffset& p) {
  if (p.scale) y = y * p.scale;
  return p.offset ? y + p.offset : y;
}

Outputs BuildGroup(Scope& s, const v1::GroupNorm& a, const Args& args) {
  const Value x = args[0];
  const int64_t given = s.pytorch() ? 1 : a.axis();
  const int axis = static_cast<int>(given < 0 ? given + x.rank() : given);
  if (x.rank() < 2 || axis < 1 || axis >= x.rank()) {
    return {s.Fail(
        absl::StrCat("axis|input: must name an axis behind the batch of ", ShapeString(x.shape()), ", got ", given))};
  }
  const int64_t channels = x.dim(axis);
  if (a.has_num_channels() && a.num_channels() != channels) {
    return {s.Fail(
        absl::StrCat("num_channels|input: must equal the input's channels, ", a.num_channels(), ", got ", channels))};
  }
  const int64_t groups = a.groups() == -1 && !s.pytorch() ? channels : a.groups();
  if (groups < 1 || channels % groups != 0) {
    return {s.Fail(
        absl::StrCat("num_channels|num_groups|groups: must divide the ", channels, " channels, got ", a.groups()))};
  }
  Shape split = x.shape();
  split[axis] = groups;
  split.insert(split.begin() + axis + 1, channels / groups);
  std::vector<int64_t> axes;
  int64_t count = 1;
  for (int i = 1; i < static_cast<int>(split.size()); ++i) {
    if (i == axis) continue;
    axes.push_back(i);
    count *= split[i];
  }
  if (s.pytorch() && count * x.dim(0) == 1) {
    return {s.Fail(absl::StrCat("input: needs more than one value per channel, got ", ShapeString(x.shape())))};
  }
  const Value mask = args[0].mask;
  if (mask && BroadcastShape(mask.shape(), x.shape()).value_or(Shape{}) != x.shape()) {
    return {
        s.Fail(absl::StrCat("mask: must fit the input ", ShapeString(x.shape()), ", got ", ShapeString(mask.shape())))};
  }
  const Value weights = mask ? Reshape(Broadcast(Cast(mask, x.dtype()), x.shape()), split) : Value{};
  // The parameters too are laid out by group, so that everything is one pass over the same space.
  Shape spread(split.size(), 1);
  spread[axis] = groups;
  spread[axis + 1] = channels / groups;
  const ScaleOffset p =
      s.pytorch() ? WeightBias(s, a.affine(), a.use_bias(), {channels}, spread) : GammaBeta(s, a, {channels}, spread);
  const Value by_group = Reshape(x, split);
  const Moments m = MomentsOf(by_group, axes, weights);
  return {Reshape(Normalize(by_group, m, a.epsilon(), p.scale, p.offset), x.shape())};
}

// The last axes, if they have the given sizes.
template <typename List>
std::vector<int64_t> LastAxes(Scope& s, const List& sizes, Value x) {
  std::vector<int64_t> axes;
  const int count = static_cast<int>(sizes.size());
  for (int i = 0; i < count; ++i) {
    const int axis = x.rank() - count + i;
    if (axis < 0 || x.dim(axis) != *(sizes.begin() + i)) {
      s.Fail(absl::StrCat("normalized_shape|input: must be the input's last axes, got ", ShapeString(x.shape())));
      return {};
    }
    axes.push_back(axis);
  }
  if (axes.empty()) s.Fail("normalized_shape: must not be empty, got none");
  return axes;
}

Outputs BuildLayerNorm(Scope& s, const v1::LayerNorm& a, const Args& args) {
  const Value x = args[0];
  if (s.pytorch()) {
    const std::vector<int64_t> axes = LastAxes(s, a.normalized_shape(), x);
    if (axes.empty()) return {Value{s.graph(), -1}};
    const Shape shape(a.normalized_shape().begin(), a.normalized_shape().end());
    return {Apply(Standardize(x, axes, a.epsilon()), WeightBias(s, a.affine(), a.use_bias(), shape, shape))};
  }
  std::vector<int64_t> axes;
  Shape shape, spread(x.rank(), 1);
  for (int64_t axis : a.axis()) {
    axes.push_back(axis < 0 ? axis + x.rank() : axis);
    // Parameters have the axes' sizes in the order of the argument, and are read in the order of the input.
    if (axes.back() >= 0 && axes.back() < x.rank()) shape.push_back(x.dim(static_cast<int>(axes.back())));
  }
  std::sort(axes.begin(), axes.end());
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] < 0 || axes[i] >= x.rank() || (i > 0 && axes[i] == axes[i - 1])) {
      return {s.Fail(absl::StrCat("axis: must name different axes of ", ShapeString(x.shape()), ", got ", axes[i]))};
    }
    spread[axes[i]] = x.dim(static_cast<int>(axes[i]));
    if (axes[i] == 0) s.MixRows();
  }
  return {Apply(Standardize(x, axes, a.epsilon()), GammaBeta(s, a, shape, spread))};
}

Outputs BuildRms(Scope& s, const v1::RmsNorm& a, const Args& args) {
  const Value x = args[0];
  const std::vector<int64_t> axes = LastAxes(s, a.normalized_shape(), x);
  if (axes.empty()) return {Value{s.graph(), -1}};
  const double epsilon = a.has_epsilon() ? a.epsilon() : std::numeric_limits<float>::epsilon();
  const Value y = x * (1.0 / Sqrt(ReduceMean(Square(x), axes, true) + epsilon));
  const Shape shape(a.normalized_shape().begin(), a.normalized_shape().end());
  return {Apply(y, WeightBias(s, a.affine(), false, shape, shape))};
}

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
Outputs BuildInstance(Scope& s, const v1::InstanceNorm& a, const Args& args) {
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
    if (x.num_elements() == x.dim(0) * channels) {
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

std::vector<Component> SampleNormLayers() {
  std::vector<Component> list;
  list.push_back(Layer<v1::GroupNorm>("group_norm", &BuildGroup)
                     .Shapes("x[N, C, ...] -> y, same shape (Keras: channels last)")
                     .Mask(MaskRule::kPass)
                     .Named(v1::KERAS, {"mask"})
                     .With({"groups: 2", {{2, 4, 3}}, v1::PYTORCH})
                     .With({"groups: 3 affine: false", {{1, 6, 2, 2}}, v1::PYTORCH})
                     .With({"groups: 2", {{2, 3, 4}}, v1::KERAS})
                     .With({"groups: -1 axis: 1 center: false", {{2, 3, 4}}, v1::KERAS}));
  list.push_back(Layer<v1::LayerNorm>("layer_norm", &BuildLayerNorm)
                     .Shapes("x[...] -> y[...]")
                     .Mask(MaskRule::kPass)
                     .With({"normalized_shape: 5", {{2, 5}}, v1::PYTORCH})
                     .With({"normalized_shape: [3, 4] use_bias: false", {{2, 3, 4}}, v1::PYTORCH})
                     .With({"axis: [1, 2]", {{2, 3, 4}}, v1::KERAS})
                     .With({"scale: false", {{3, 1, 7}}, v1::KERAS}));
  list.push_back(Layer<v1::RmsNorm>("rms_norm", &BuildRms)
                     .Shapes("x[...] -> y[...]")
                     .With({"normalized_shape: 5", {{2, 5}}, v1::PYTORCH})
                     .With({"normalized_shape: [3, 4] epsilon: 0.1", {{2, 3, 4}}, v1::PYTORCH})
                     .With({"normalized_shape: 2 affine: false", {{1, 3, 2}}, v1::PYTORCH}));
  const auto samples = [](Component c, Shape x) {
    return std::move(c)
        .Shapes("x[N, C, spatial...] -> y, same shape")
        .With({"num_features: 3", {x}, v1::PYTORCH})
        .With({"num_features: 3 affine: true epsilon: 0.1", {x}, v1::PYTORCH})
        .With({"num_features: 3 track_running_stats: true", {x}, v1::PYTORCH});
  };
  list.push_back(samples(Layer<v1::InstanceNorm>("instance_norm1d", &BuildInstance<1>), {2, 3, 5}));
  list.push_back(samples(Layer<v1::InstanceNorm>("instance_norm2d", &BuildInstance<2>), {2, 3, 2, 4}));
  list.push_back(samples(Layer<v1::InstanceNorm>("instance_norm3d", &BuildInstance<3>), {2, 3, 2, 1, 3}));
  return list;
}

}  // namespace strata::nn
