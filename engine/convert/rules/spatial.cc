// Padding and windows of layers with spatial axes.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/convert/rule.h"

namespace strata::convert {

std::vector<int64_t> SpatialSizes(Site& s) {
  const Shape& shape = s.shape(0);
  if (s.channels_first()) return {shape.begin() + 2, shape.end()};
  return {shape.begin() + 1, shape.end() - 1};
}

void FillPadding(const v1::Padding& padding, const std::vector<int64_t>& sizes, Window* w) {
  const size_t axes = sizes.size();
  w->lo.assign(axes, 0);
  if (padding.has_size()) w->lo = PerAxis(padding.size().values(), axes, w->lo);
  w->hi = w->lo;
  for (size_t i = 0; i < axes && padding.has_mode(); ++i) {
    if (padding.mode() == v1::Padding::SAME) {
      // At stride 1 every tap counts, whatever the size.
      const int64_t out = (sizes[i] + w->stride[i] - 1) / w->stride[i];
      const int64_t total = std::max<int64_t>((out - 1) * w->stride[i] + w->reach(i) - sizes[i], 0);
      w->lo[i] = total / 2;
      w->hi[i] = total - total / 2;
    } else if (padding.mode() == v1::Padding::CAUSAL) {
      w->lo[i] = w->reach(i) - 1;
      w->hi[i] = 0;
    }
  }
}

v1::Edge PadSpatial(Site& s, const v1::Edge& edge, const std::vector<int64_t>& lo, const std::vector<int64_t>& hi) {
  const size_t axes = lo.size();
  if (s.to_pytorch()) {  // the last axis first; negative numbers crop
    v1::Layer layer = MakeLayer(absl::StrCat("zero_pad", axes, "d"));
    auto* m = static_cast<v1::PadCells*>(MutableAttrs(&layer));
    for (size_t i = axes; i-- > 0;) {
      m->add_padding(lo[i]);
      m->add_padding(hi[i]);
    }
    return s.Helper("_pad", layer, {edge});
  }
  v1::Edge out = edge;
  std::vector<int64_t> pad, crop;
  for (size_t i = 0; i < axes; ++i) {
    for (int64_t cells : {lo[i], hi[i]}) {
      pad.push_back(std::max<int64_t>(cells, 0));
      crop.push_back(std::max<int64_t>(-cells, 0));
    }
  }
  if (!AllEqual(crop, 0)) {
    v1::Layer layer = MakeLayer(absl::StrCat("cropping", axes, "d"));
    SetList(crop, static_cast<v1::Cropping*>(MutableAttrs(&layer))->mutable_cropping());
    out = s.Helper("_crop", layer, {out});
  }
  if (!AllEqual(pad, 0)) {
    v1::Layer layer = MakeLayer(absl::StrCat("zero_padding", axes, "d"));
    SetList(pad, static_cast<v1::ZeroPadding*>(MutableAttrs(&layer))->mutable_padding());
    out = s.Helper("_pad", layer, {out});
  }
  return out;
}

}  // namespace strata::convert
