// Layers that move elements: Flatten, Reshape, Permute, RepeatVector. Select and Mean are in reduce.cc.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/convert/rule.h"

namespace strata::convert {
namespace {

// Axes in the order in which the old layer flattens them.
std::vector<int> FlattenedAxes(Site& s) {
  const int rank = s.rank(0);
  std::vector<int> axes;
  const bool moved = s.from() == v1::KERAS && s.As<v1::Flatten>().data_format() == v1::CHANNELS_FIRST && rank > 2;
  for (int i = moved ? 2 : 1; i < rank; ++i) axes.push_back(i);
  if (moved) axes.push_back(1);
  return axes;
}

// [N, features]: nothing is permuted here; what follows learns in which order the features stand.
Layout FlatLayout(Site& s) {
  const Operand& x = s.arg(0);
  const std::vector<int> old_order = FlattenedAxes(s);
  Layout layout = Layout::Plain(2);
  std::vector<int> places;
  for (size_t i = 1; i < x.layout.axes.size(); ++i) {
    const int axis = x.layout.axes[i];
    if (x.shape[axis] == 1) continue;  // its place does not matter
    layout.flat.push_back(x.shape[axis]);
    places.push_back(static_cast<int>(std::find(old_order.begin(), old_order.end(), axis) - old_order.begin()));
  }
  std::vector<int> sorted = places;
  std::sort(sorted.begin(), sorted.end());
  if (sorted == places) return Layout::Plain(2);
  for (int& place : places) {
    place = static_cast<int>(std::find(sorted.begin(), sorted.end(), place) - sorted.begin());
  }
  layout.places = places;
  return layout;
}

void FlattenToPytorch(Site& s) {
  const v1::Layer layer = s.Draft("flatten");
  if (s.rank(0) == 1) {
    v1::Layer reshape = MakeLayer("reshape");
    reshape.mutable_reshape()->add_target_shape(1);
    return s.Put(s.Main(reshape, {s.Plain(0)}).edge, Layout::Plain(2));
  }
  const Layout layout = s.rank(0) == 2 ? s.arg(0).layout : FlatLayout(s);
  const v1::Edge x = AsItStands(s, 0);
  s.Put(s.Main(layer, {x}).edge, layout, s.arg(0).non_negative);
}

void FlattenToKeras(Site& s) {
  const auto& a = s.As<v1::Flatten>();
  const int rank = s.rank(0);
  const int64_t start = a.start_axis() < 0 ? a.start_axis() + rank : a.start_axis();
  const int64_t end = a.end_axis() < 0 ? a.end_axis() + rank : a.end_axis();
  if (start == 0) return s.Refuse("start_axis", "Keras' layers keep the batch axis, got 0");
  if (start == 1 && end == rank - 1) {
    const v1::Layer layer = s.Draft("flatten", {"start_axis", "end_axis"});
    const Layout layout = rank == 2 ? s.arg(0).layout : FlatLayout(s);
    const v1::Edge x = AsItStands(s, 0);
    return s.Put(s.Main(layer, {x}).edge, layout, s.arg(0).non_negative);
  }
  v1::Layer layer = s.Draft("reshape", {"start_axis", "end_axis"});
  const Shape& out = s.results()[0].shape;
  for (size_t i = 1; i < out.size(); ++i) layer.mutable_reshape()->add_target_shape(out[i]);
  s.Put(s.Main(layer, {s.Plain(0)}).edge, Layout::Plain(out.size()), s.arg(0).non_negative);
}

// A permutation that undoes the order in which its input stands here is no layer at all.
void Permute(Site& s) {
  const auto& a = s.As<v1::Permute>();
  const Operand& x = s.arg(0);
  Layout layout = x.layout;
  if (layout.flat.empty() && !layout.plain()) {
    std::vector<int> order = {0};
    order.insert(order.end(), a.dims().begin(), a.dims().end());
    for (int& axis : layout.axes) axis = static_cast<int>(std::find(order.begin(), order.end(), axis) - order.begin());
    if (layout.plain()) return s.Put(AsItStands(s, 0), layout, x.non_negative);
  }
  s.Put(s.Main(s.Draft("permute"), {s.Plain(0)}).edge, Layout::Plain(x.shape.size()), x.non_negative);
}

}  // namespace

std::vector<Record> ShapeRecords() {
  const v1::Dialect both = v1::DIALECT_UNSPECIFIED;
  return {
      {.kind = "flatten", .from = v1::KERAS, .rule = &FlattenToPytorch},
      {.kind = "flatten", .from = v1::PYTORCH, .rule = &FlattenToKeras},
      {.kind = "reshape", .from = both, .to = "reshape"},
      {.kind = "permute", .from = both, .rule = &Permute},
      {.kind = "repeat_vector", .from = both, .to = "repeat_vector"},
  };
}

}  // namespace strata::convert
