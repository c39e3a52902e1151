// Layers without weights that PyTorch's users write as calls, x.select(...) and x.mean(...): axes disappear. Keras has
// no layer of these names; poolings, croppings and reshapes say the same.
#include <algorithm>
#include <functional>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "engine/convert/rule.h"

namespace strata::convert {
namespace {

// The layout without some axes of the value.
Layout Without(const Layout& layout, const std::vector<int>& gone) {
  Layout out;
  for (int axis : layout.axes) {
    if (std::count(gone.begin(), gone.end(), axis) > 0) continue;
    const auto before = std::count_if(gone.begin(), gone.end(), [&](int g) { return g < axis; });
    out.axes.push_back(axis - static_cast<int>(before));
  }
  return out;
}

// The value as (before, axes [first, last], after), and layers that make a new shape.
struct Blocks {
  int64_t before, within, after;
};
Blocks BlocksOf(const Shape& shape, int first, int last) {
  const auto product = [&](int from, int to) {
    return std::accumulate(shape.begin() + from, shape.begin() + to, int64_t{1}, std::multiplies<int64_t>());
  };
  return {product(1, first), product(first, last + 1), product(last + 1, static_cast<int>(shape.size()))};
}
v1::Layer ReshapeTo(const std::vector<int64_t>& shape) {
  v1::Layer layer = MakeLayer("reshape");
  layer.mutable_reshape()->mutable_target_shape()->Add(shape.begin(), shape.end());
  return layer;
}
v1::Edge Reshaped(Site& s, const char* suffix, const v1::Edge& edge, const std::vector<int64_t>& shape) {
  return s.Helper(suffix, ReshapeTo(shape), {edge});
}

// One index: the others are cropped, and the axis with them.
v1::Edge SelectInKeras(Site& s, const v1::Edge& edge, int place, int64_t index) {
  const Shape shape = s.PortOf(edge).shape;
  if (place == 0) {
    s.Refuse("axis", "Keras' layers keep the batch axis, got 0");
    return edge;
  }
  if (shape.size() < 3) {
    s.Refuse("axis", "Keras' layers leave an axis beside the batch");
    return edge;
  }
  const int64_t size = shape[place], lo = index < 0 ? index + size : index, hi = size - 1 - lo;
  std::vector<int64_t> left(shape.begin() + 1, shape.end());
  left.erase(left.begin() + place - 1);
  if (size == 1) return s.Main(ReshapeTo(left), {edge}).edge;
  if (shape.size() == 3 && place == 1) {
    v1::Layer crop = MakeLayer("cropping1d");
    for (const int64_t cells : {lo, hi}) crop.mutable_cropping1d()->add_cropping(cells);
    return Reshaped(s, "_step", s.Main(crop, {edge}).edge, left);
  }
  const Blocks b = BlocksOf(shape, place, place);
  const v1::Edge blocks = Reshaped(s, "_blocks", edge, {b.before, b.within, b.after});
  v1::Layer crop = MakeLayer("cropping2d");
  for (const int64_t cells : {int64_t{0}, int64_t{0}, lo, hi}) crop.mutable_cropping2d()->add_cropping(cells);
  return Reshaped(s, "_step", s.Main(crop, {blocks}).edge, left);
}

void Select(Site& s) {
  const auto& a = s.As<v1::Select>();
  Operand& x = s.arg(0);
  const int rank = s.rank(0), axis = static_cast<int>(a.axis() < 0 ? a.axis() + rank : a.axis());
  if (!x.parts.empty() && axis == 0) {  // one of the states that PyTorch stacks
    Operand out;
    out.edge = x.parts[a.index() < 0 ? a.index() + static_cast<int64_t>(x.parts.size()) : a.index()];
    out.layout = Layout::Plain(rank - 1);
    return s.Put(std::move(out));
  }
  v1::Layer layer = s.Draft("select", {"axis"});
  const v1::Edge edge = x.layout.flat.empty() ? AsItStands(s, 0) : s.Plain(0);
  const Layout layout = x.layout.flat.empty() ? x.layout : Layout::Plain(rank);
  const int place = layout.PlaceOf(axis);
  layer.mutable_select()->set_axis(place);
  const v1::Edge y = s.to_pytorch() ? s.Main(layer, {edge}).edge : SelectInKeras(s, edge, place, a.index());
  s.Put(y, Without(layout, {axis}), x.non_negative);
}

// `places` are sorted. Over all spatial axes of some data format it is a global pooling, over other neighbours a
// pooling of blocks.
v1::Edge MeanInKeras(Site& s, const v1::Edge& edge, const std::vector<int>& places, bool keepdims) {
  const Shape shape = s.PortOf(edge).shape;
  const int rank = static_cast<int>(shape.size()), count = static_cast<int>(places.size());
  const int first = places[0], last = places.back();
  if (first == 0) {
    s.Refuse("axis", "Keras' layers keep the batch axis, got 0");
    return edge;
  }
  if (last - first != count - 1) {
    s.Refuse("axis", "Keras' poolings take neighbouring axes");
    return edge;
  }
  if (rank >= 3 && rank <= 5 && count == rank - 2) {
    v1::Layer pool = MakeLayer(absl::StrCat("global_avg_pool", count, "d"));
    auto* p = static_cast<v1::GlobalPool*>(MutableAttrs(&pool));
    if (first == 2) p->set_data_format(v1::CHANNELS_FIRST);
    if (keepdims) p->set_keepdims(true);
    return s.Main(pool, {edge}).edge;
  }
  std::vector<int64_t> left(shape.begin() + 1, shape.end());
  if (keepdims) {
    for (int place : places) left[place - 1] = 1;
  } else {
    left.erase(left.begin() + first - 1, left.begin() + last);
  }
  if (left.empty()) {
    s.Refuse("axis", "Keras' layers leave an axis beside the batch");
    return edge;
  }
  const Blocks b = BlocksOf(shape, first, last);
  const v1::Edge blocks = Reshaped(s, "_blocks", edge, {b.before, b.within, b.after});
  v1::Layer pool = MakeLayer("avg_pool2d");
  for (const int64_t size : {int64_t{1}, b.within}) pool.mutable_avg_pool2d()->add_pool_size(size);
  return Reshaped(s, "_mean", s.Main(pool, {blocks}).edge, left);
}

void Mean(Site& s) {
  const auto& a = s.As<v1::Mean>();
  v1::Layer layer = s.Draft("mean", {"axis"});
  const Operand& x = s.arg(0);
  const v1::Edge edge = x.layout.flat.empty() ? AsItStands(s, 0) : s.Plain(0);
  const Layout layout = x.layout.flat.empty() ? x.layout : Layout::Plain(s.rank(0));
  std::vector<int> axes, places;
  for (int64_t given : a.axis()) {
    axes.push_back(static_cast<int>(given < 0 ? given + s.rank(0) : given));
    places.push_back(layout.PlaceOf(axes.back()));
  }
  std::sort(places.begin(), places.end());
  for (int place : places) layer.mutable_mean()->add_axis(place);
  const v1::Edge y = s.to_pytorch() ? s.Main(layer, {edge}).edge : MeanInKeras(s, edge, places, a.keepdims());
  s.Put(y, a.keepdims() ? layout : Without(layout, axes), x.non_negative);
}

}  // namespace

std::vector<Record> ReduceRecords() {
  const v1::Dialect both = v1::DIALECT_UNSPECIFIED;
  return {
      {.kind = "select", .from = both, .rule = &Select},
      {.kind = "mean", .from = both, .rule = &Mean},
  };
}

}  // namespace strata::convert
