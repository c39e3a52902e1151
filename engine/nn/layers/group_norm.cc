// Normalisation of groups of channels within a sample.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/normalization.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::GroupNorm& a, const Args& args) {
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

}  // namespace

Components GroupNorm() {
  return Layer<v1::GroupNorm>("group_norm", &Build)
      .Shapes("x[N, C, ...] -> y[N, C, ...] (PyTorch); x[N, ...] -> y[N, ...] (Keras)")
      .Takes(kFloats)
      .Mask(MaskRule::kPass)
      .Named(v1::KERAS, {"mask"})
      .With({"groups: 2", {{2, 4, 3}}, v1::PYTORCH})
      .With({"groups: 3 affine: false", {{1, 6, 2, 2}}, v1::PYTORCH})
      .With({"groups: 2", {{2, 3, 4}}, v1::KERAS})
      .With({"groups: -1 axis: 1 center: false", {{2, 3, 4}}, v1::KERAS});
}

}  // namespace strata::nn
