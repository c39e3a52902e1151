// Normalisation. PyTorch's channel axis is 1, Keras' any; momenta are shares of the new batch and of the old value.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/convert/rule.h"

namespace strata::convert {
namespace {

// TensorFlow's fused kernel raises smaller epsilons of batch normalisation to this.
constexpr double kFusedEpsilon = 1.001e-5;

// The other framework's momentum; 1 - 0.99 is 0.01, as people write it.
double Complement(double momentum) { return std::round((1 - momentum) * 1e12) / 1e12; }

// PyTorch: `affine` is both, `use_bias` the offset alone. Keras: `scale` and `center`.
struct Learned {
  bool scale = false, center = false;
};
template <typename M>
Learned LearnedIn(Site& s, const M& a) {
  if (s.to_pytorch()) return {a.scale(), a.center()};
  return {a.affine(), a.affine() && a.use_bias()};
}
template <typename M>
void SetLearned(Site& s, Learned learned, M* m) {
  if (s.to_pytorch()) {
    m->set_affine(learned.scale || learned.center);
    if (learned.scale && !learned.center) m->set_use_bias(false);
    if (!learned.scale && learned.center)
      s.Warn("scale", "PyTorch has no offset without a scale: it starts at 1 and trains");
  } else {
    m->set_scale(learned.scale);
    m->set_center(learned.center);
  }
}

// Moves scale and offset of `shape`; `order` permutes features, if it is not empty.
void MoveLearned(Site& s, const Made& made, Learned learned, const Shape& shape, const std::vector<int64_t>& order) {
  const Recipe copy = order.empty() ? Copy() : Take(0, order);
  if (s.to_pytorch()) {
    if (learned.scale) s.Move(made, "weight", {"gamma"}, copy);
    if (!learned.scale && learned.center) s.Move(made, "weight", {}, Fill(shape, 1));
    if (learned.center) s.Move(made, "bias", {"beta"}, copy);
  } else {
    if (learned.scale) s.Move(made, "gamma", {"weight"}, copy);
    if (learned.center) s.Move(made, "beta", {"bias"}, copy);
  }
}

// The argument with `axis` of the old value as its channel axis where the new layer wants it: 1 in PyTorch. Where the
// channel axis may be anywhere the argument stays as it is.
struct Channels {
  v1::Edge edge;
  Layout layout;
  int64_t axis = -1;  // in the new value; -1: the last one
  std::vector<int64_t> order;
};
Channels ChannelsOf(Site& s, int axis) {
  Channels c;
  c.layout = s.arg(0).layout;
  const int rank = s.rank(0);
  if (!c.layout.flat.empty()) {
    if (s.shared()) {
      c.layout = Layout::Plain(2);
      c.edge = s.Plain(0);
      return c;
    }
    c.order = c.layout.FeatureOrder();
    c.edge = s.arg(0).edge;
    return c;
  }
  if (s.to_pytorch() && c.layout.axes[1] != axis) {
    c.layout = Layout::Plain(rank);
    c.layout.axes.erase(c.layout.axes.begin() + axis);
    c.layout.axes.insert(c.layout.axes.begin() + 1, axis);
  }
  c.edge = s.In(0, c.layout.axes);
  const int place = c.layout.PlaceOf(axis);
  c.axis = place == rank - 1 ? -1 : place;
  return c;
}

void MoveStatistics(Site& s, const Made& made, const std::vector<int64_t>& order) {
  const Recipe copy = order.empty() ? Copy() : Take(0, order);
  if (s.to_pytorch()) {
    s.Move(made, "running_mean", {"moving_mean"}, copy);
    s.Move(made, "running_var", {"moving_variance"}, copy);
    s.Move(made, "num_batches_tracked", {}, Fill({}, 0, DType::kI64));
  } else {
    s.Move(made, "moving_mean", {"running_mean"}, copy);
    s.Move(made, "moving_variance", {"running_var"}, copy);
  }
}

void BatchNormToPytorch(Site& s) {
  const auto& a = s.As<v1::BatchNorm>();
  const int rank = s.rank(0);
  if (a.axes_size() > 1) return s.Refuse("axes", "PyTorch has one channel axis, got several");
  if (rank > 5) return s.Refuse("", absl::StrCat("PyTorch's takes 2 to 5 axes, got ", rank));
  const int64_t given = a.axes_size() == 1 ? a.axes(0) : a.axis();
  const int axis = static_cast<int>(given < 0 ? given + rank : given);
  v1::Layer layer = s.Draft(rank <= 3   ? "batch_norm1d"
                            : rank == 4 ? "batch_norm2d"
                                        : "batch_norm3d",
                            {"momentum", "epsilon", "axis", "axes", "scale", "center", "fused"});
  auto* m = static_cast<v1::BatchNorm*>(MutableAttrs(&layer));
  const bool fused = a.fused() && rank >= 4 && (axis == 1 || axis == rank - 1);
  m->set_epsilon(fused ? std::max(a.epsilon(), kFusedEpsilon) : a.epsilon());
  m->set_momentum(Complement(a.momentum()));
  const Learned learned = LearnedIn(s, a);
  SetLearned(s, learned, m);
  const Channels c = ChannelsOf(s, axis);
  const Made made = s.Main(layer, {c.edge});
  MoveLearned(s, made, learned, {s.shape(0)[axis]}, c.order);
  MoveStatistics(s, made, c.order);
  s.Put(made.edge, c.layout);
}

void BatchNormToKeras(Site& s) {
  const auto& a = s.As<v1::BatchNorm>();
  if (a.cumulative()) s.Refuse("cumulative", "Keras keeps no plain average over all batches");
  if (!a.track_running_stats()) s.Refuse("track_running_stats", "Keras always keeps running statistics, got false");
  v1::Layer layer =
      s.Draft("batch_norm", {"momentum", "epsilon", "affine", "use_bias", "cumulative", "track_running_stats"});
  v1::BatchNorm* m = layer.mutable_batch_norm();
  m->set_epsilon(a.epsilon());
  m->set_momentum(Complement(a.momentum()));
  if (s.rank(0) >= 4 && a.epsilon() < kFusedEpsilon) m->set_fused(false);
  const Learned learned = LearnedIn(s, a);
  SetLearned(s, learned, m);
  const Channels c = ChannelsOf(s, 1);
  m->set_axis(c.axis);
  const Made made = s.Main(layer, {c.edge});
  MoveLearned(s, made, learned, {}, c.order);
  MoveStatistics(s, made, c.order);
  s.Put(made.edge, c.layout);
}

void GroupNorm(Site& s) {
  const auto& a = s.As<v1::GroupNorm>();
  const int rank = s.rank(0);
  const int64_t given = s.to_pytorch() ? a.axis() : 1;
  const int axis = static_cast<int>(given < 0 ? given + rank : given);
  v1::Layer layer = s.Draft("group_norm", {"affine", "use_bias", "scale", "center", "axis", "groups"});
  v1::GroupNorm* m = layer.mutable_group_norm();
  m->set_groups(s.to_pytorch() && a.groups() == -1 ? s.shape(0)[axis] : a.groups());
  const Learned learned = LearnedIn(s, a);
  SetLearned(s, learned, m);
  if (!s.arg(0).layout.flat.empty()) {  // groups are of neighbours
    s.arg(0).edge = s.Plain(0);
    s.arg(0).layout = Layout::Plain(rank);
  }
  const Channels c = ChannelsOf(s, axis);
  if (!s.to_pytorch()) m->set_axis(c.axis);
  const Made made = s.Main(layer, {c.edge});
  MoveLearned(s, made, learned, {s.shape(0)[axis]}, {});
  s.Put(made.edge, c.layout);
}

// Keras' group normalisation with a group for each channel.
void InstanceNormToKeras(Site& s) {
  const auto& a = s.As<v1::InstanceNorm>();
  if (a.track_running_stats()) s.Refuse("track_running_stats", "Keras keeps none within samples, got true");
  v1::Layer layer = s.Draft("group_norm", {"affine", "use_bias", "momentum", "track_running_stats"});
  v1::GroupNorm* m = layer.mutable_group_norm();
  m->set_groups(-1);
  const Learned learned = {a.affine(), a.affine() && a.use_bias()};
  SetLearned(s, learned, m);
  const Channels c = ChannelsOf(s, 1);
  m->set_axis(c.axis);
  const Made made = s.Main(layer, {c.edge});
  MoveLearned(s, made, learned, {}, {});
  s.Put(made.edge, c.layout);
}

void LayerNormToPytorch(Site& s) {
  const auto& a = s.As<v1::LayerNorm>();
  const int rank = s.rank(0);
  std::vector<int> axes;
  for (int64_t axis : a.axis()) axes.push_back(static_cast<int>(axis < 0 ? axis + rank : axis));
  std::sort(axes.begin(), axes.end());
  if (axes.empty() || axes[0] == 0) return s.Refuse("axis", "PyTorch normalises axes behind the batch");
  v1::Layer layer = s.Draft("layer_norm", {"axis", "scale", "center"});
  // The normalised axes come last, in their order.
  std::vector<int> order;
  Shape shape;
  for (int i = 0; i < rank; ++i) {
    if (std::count(axes.begin(), axes.end(), i) == 0) order.push_back(i);
  }
  for (int axis : axes) {
    order.push_back(axis);
    shape.push_back(s.shape(0)[axis]);
    layer.mutable_layer_norm()->add_normalized_shape(shape.back());
  }
  const Learned learned = LearnedIn(s, a);
  SetLearned(s, learned, layer.mutable_layer_norm());
  const Made made = s.Main(layer, {s.In(0, order)});
  MoveLearned(s, made, learned, shape, {});
  s.Put(made.edge, {order, {}, {}});
}

void LayerNormToKeras(Site& s) {
  const auto& a = s.As<v1::LayerNorm>();
  v1::Layer layer = s.Draft("layer_norm", {"normalized_shape", "affine", "use_bias"});
  for (int i = a.normalized_shape_size(); i > 0; --i) layer.mutable_layer_norm()->add_axis(-i);
  const Learned learned = LearnedIn(s, a);
  SetLearned(s, learned, layer.mutable_layer_norm());
  const Made made = s.Main(layer, {s.Plain(0)});
  MoveLearned(s, made, learned, {}, {});
  s.Put(made.edge, Layout::Plain(s.rank(0)));
}

}  // namespace

std::vector<Record> NormRecords() {
  std::vector<Record> records = {
      {.kind = "batch_norm", .from = v1::KERAS, .axes = Axes::kNormal, .rule = &BatchNormToPytorch},
      {.kind = "group_norm", .from = v1::DIALECT_UNSPECIFIED, .axes = Axes::kNormal, .rule = &GroupNorm},
      {.kind = "layer_norm", .from = v1::KERAS, .rule = &LayerNormToPytorch},
      {.kind = "layer_norm", .from = v1::PYTORCH, .rule = &LayerNormToKeras},
      {.kind = "rms_norm", .from = v1::PYTORCH, .reason = "Keras 2 normalises by mean and variance"},
  };
  for (const char* axes : {"1d", "2d", "3d"}) {
    records.push_back({.kind = absl::StrCat("batch_norm", axes),
                       .from = v1::PYTORCH,
                       .axes = Axes::kNormal,
                       .rule = &BatchNormToKeras});
    records.push_back({.kind = absl::StrCat("instance_norm", axes),
                       .from = v1::PYTORCH,
                       .axes = Axes::kNormal,
                       .rule = &InstanceNormToKeras});
  }
  return records;
}

}  // namespace strata::convert
