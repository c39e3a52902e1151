// Transposed convolutions. Keras chooses the size of the result by a rule, PyTorch by numbers.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/convert/rule.h"

namespace strata::convert {
namespace {

Window WindowOf(const v1::ConvTranspose& a, size_t axes) {
  const std::vector<int64_t> ones(axes, 1);
  Window w;
  w.size = PerAxis(a.kernel_size(), axes, ones);
  w.stride = PerAxis(a.stride(), axes, ones);
  w.dilation = PerAxis(a.dilation(), axes, ones);
  return w;
}

v1::ConvTranspose* AttrsIn(v1::Layer* layer) { return static_cast<v1::ConvTranspose*>(MutableAttrs(layer)); }

// Keras cuts `total` cells off the full result, the odd one at the end, or extends it at the end. PyTorch cuts equal
// numbers and extends: one cell more at the end is a layer that crops.
void ConvTransposeToPytorch(Site& s) {
  const auto& a = s.As<v1::ConvTranspose>();
  const std::vector<int64_t> sizes = SpatialSizes(s);
  const size_t axes = sizes.size();
  const Window w = WindowOf(a, axes);
  const bool same = a.padding().mode() == v1::Padding::SAME;
  const std::vector<int64_t> extra = PerAxis(a.output_padding().values(), axes, std::vector<int64_t>(axes, -1));
  std::vector<int64_t> cut(axes, 0), extend(axes, 0), crop(axes, 0);
  for (size_t i = 0; i < axes; ++i) {
    const int64_t full = (sizes[i] - 1) * w.stride[i] + w.reach(i);
    int64_t out = sizes[i] * w.stride[i] + (same ? 0 : std::max<int64_t>(w.reach(i) - w.stride[i], 0));
    if (extra[i] >= 0) out = full - 2 * (same ? w.reach(i) / 2 : 0) + extra[i];
    cut[i] = same ? std::max<int64_t>(full - out, 0) / 2 : 0;
    const int64_t rest = out - (full - 2 * cut[i]);
    (rest >= 0 ? extend : crop)[i] = rest;
  }
  v1::Layer layer = s.Draft(s.kind(), {"padding", "output_padding"});
  if (!AllEqual(cut, 0)) SetList(cut, AttrsIn(&layer)->mutable_padding()->mutable_size()->mutable_values());
  if (!AllEqual(extend, 0)) SetList(extend, AttrsIn(&layer)->mutable_output_padding()->mutable_values());
  const Made made = s.Main(layer, {s.In(0, s.SpatialAxes(s.rank(0)))});
  s.Move(made, "weight", {"kernel"}, KernelToPytorch());
  if (a.use_bias()) s.Move(made, "bias", {"bias"}, Copy());
  v1::Edge y = made.edge;
  if (!AllEqual(crop, 0)) y = PadSpatial(s, y, std::vector<int64_t>(axes, 0), crop);
  const Layout layout{s.SpatialAxes(s.rank(0)), {}, {}};
  const Activated out = Activate(s, a.activation(), y, layout);
  s.Put(out.edge, layout, out.non_negative);
}

void ConvTransposeToKeras(Site& s) {
  const auto& a = s.As<v1::ConvTranspose>();
  const size_t axes = SpatialSizes(s).size();
  const Window w = WindowOf(a, axes);
  const std::vector<int64_t> zeros(axes, 0);
  const std::vector<int64_t> cut = PerAxis(a.padding().size().values(), axes, zeros);
  const std::vector<int64_t> extend = PerAxis(a.output_padding().values(), axes, zeros);
  v1::Layer layer = s.Draft(s.kind(), {"padding", "output_padding"});
  // What Keras' rules give for any size.
  bool same = true, valid = true;
  for (size_t i = 0; i < axes; ++i) {
    const int64_t over = w.reach(i) - w.stride[i];
    same &= over >= 0 && over % 2 == 0 && cut[i] == over / 2 && extend[i] == 0;
    valid &= over >= 0 && extend[i] == 0;
  }
  same &= !AllEqual(cut, 0);
  AttrsIn(&layer)->mutable_padding()->set_mode(same ? v1::Padding::SAME : v1::Padding::VALID);
  if (!same && !valid) SetList(extend, AttrsIn(&layer)->mutable_output_padding()->mutable_values());
  const Made made = s.Main(layer, {s.In(0, s.SpatialAxes(s.rank(0)))});
  s.Move(made, "kernel", {"weight"}, KernelToKeras());
  if (a.use_bias()) s.Move(made, "bias", {"bias"}, Copy());
  v1::Edge y = made.edge;
  if (!same && !AllEqual(cut, 0)) {
    std::vector<int64_t> crop;
    for (int64_t cells : cut) crop.push_back(-cells);
    y = PadSpatial(s, y, crop, crop);
  }
  s.Put(y, {s.SpatialAxes(s.rank(0)), {}, {}});
}

}  // namespace

std::vector<Record> ConvTransposeRecords() {
  std::vector<Record> records;
  for (const char* kind : {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}) {
    records.push_back({.kind = kind, .from = v1::KERAS, .axes = Axes::kSpatial, .rule = &ConvTransposeToPytorch});
    records.push_back({.kind = kind, .from = v1::PYTORCH, .axes = Axes::kSpatial, .rule = &ConvTransposeToKeras});
  }
  return records;
}

}  // namespace strata::convert
