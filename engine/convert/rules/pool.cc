// Pooling. Keras' "same" is PyTorch's padding before and ceil_mode behind: windows reach beyond the end, and only cells
// that exist count.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/convert/rule.h"

namespace strata::convert {
namespace {

template <typename M>
Window PoolWindowOf(Site& s, const M& a) {
  const std::vector<int64_t> sizes = SpatialSizes(s);
  Window w;
  w.size = PerAxis(a.pool_size(), sizes.size(), {});
  w.stride = PerAxis(a.stride(), sizes.size(), w.size);
  w.dilation.assign(sizes.size(), 1);
  FillPadding(a.padding(), sizes, &w);
  return w;
}

template <typename M>
void PoolToPytorch(Site& s) {
  const auto& a = s.As<M>();
  const Window w = PoolWindowOf(s, a);
  v1::Layer layer = s.Draft(s.kind(), {"padding", "stride"});
  auto* pool = static_cast<M*>(MutableAttrs(&layer));
  if (w.stride != w.size) SetList(w.stride, pool->mutable_stride());
  if (w.lo != w.hi) pool->set_ceil_mode(true);
  // Step by step there is nothing to round up: one cell of padding more on both sides, and the first window goes.
  std::vector<int64_t> padding = w.lo, first(w.lo.size(), 0);
  for (size_t i = 0; i < w.lo.size(); ++i) {
    if (w.stride[i] > 1 || w.lo[i] == w.hi[i]) continue;
    padding[i] = w.hi[i];
    first[i] = -1;
  }
  if (!AllEqual(padding, 0)) SetList(padding, pool->mutable_padding()->mutable_size()->mutable_values());
  if constexpr (std::is_same_v<M, v1::AvgPool>) {
    if (w.lo != w.hi || !AllEqual(w.lo, 0)) pool->set_count_include_pad(false);
  }
  const Layout layout{s.SpatialAxes(s.rank(0)), {}, {}};
  const v1::Edge x = s.In(0, layout.axes);
  v1::Edge y = s.Main(layer, {x}).edge;
  if (!AllEqual(first, 0)) y = PadSpatial(s, y, first, std::vector<int64_t>(first.size(), 0));
  s.Put(y, layout, s.arg(0).non_negative);
}

// Whether the windows are those of Keras' "same", for these sizes: as many, and the first begins at the same cell.
bool IsSame(Site& s, const Window& w) {
  const std::vector<int64_t> sizes = SpatialSizes(s);
  Window same = w;
  v1::Padding padding;
  padding.set_mode(v1::Padding::SAME);
  FillPadding(padding, sizes, &same);
  const Shape& out = s.results()[0].shape;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (same.lo[i] != w.lo[i] || out[i + 2] != (sizes[i] + w.stride[i] - 1) / w.stride[i]) return false;
  }
  return true;
}

// Whether ceil_mode adds a window.
bool CeilMatters(Site& s, const Window& w) {
  const std::vector<int64_t> sizes = SpatialSizes(s);
  for (size_t i = 0; i < sizes.size(); ++i) {
    const int64_t floor = (sizes[i] + 2 * w.lo[i] - w.size[i]) / w.stride[i] + 1;
    if (s.results()[0].shape[i + 2] != floor) return true;
  }
  return false;
}

// Draft, rule and input for Keras: "same", "valid", or "valid" behind a layer of zeros, where those change nothing.
template <typename M>
void FinishToKeras(Site& s, v1::Layer layer, const Window& w, bool ceil, bool zeros_do, const char* why) {
  const Layout layout{s.SpatialAxes(s.rank(0)), {}, {}};
  v1::Edge x = s.In(0, layout.axes);
  auto* pool = static_cast<M*>(MutableAttrs(&layer));
  const bool extra = ceil && CeilMatters(s, w);
  if (AllEqual(w.lo, 0) && !extra) {
    pool->mutable_padding()->set_mode(v1::Padding::VALID);
  } else if (!zeros_do || extra) {
    if (!IsSame(s, w)) return s.Refuse("padding", why);
    pool->mutable_padding()->set_mode(v1::Padding::SAME);
  } else {
    pool->mutable_padding()->set_mode(v1::Padding::VALID);
    x = PadSpatial(s, x, w.lo, w.hi);
  }
  if (w.stride != w.size) SetList(w.stride, pool->mutable_stride());
  s.Put(s.Main(layer, {x}).edge, layout, s.arg(0).non_negative);
}

void MaxToKeras(Site& s) {
  const auto& a = s.As<v1::MaxPool>();
  if (a.return_indices() && s.Used(1)) s.Refuse("return_indices", "Keras' pooling puts out no positions");
  v1::Layer layer = s.Draft(s.kind(), {"padding", "stride", "ceil_mode", "return_indices"});
  if (s.failed()) return;
  FinishToKeras<v1::MaxPool>(s, std::move(layer), PoolWindowOf(s, a), a.ceil_mode(), s.arg(0).non_negative,
                             "Keras has no such padding for an input that may be negative: its windows are \"valid\", "
                             "\"same\" or behind zeros");
}

void AvgToKeras(Site& s) {
  const auto& a = s.As<v1::AvgPool>();
  const Window w = PoolWindowOf(s, a);
  v1::Layer layer = s.Draft(s.kind(), {"padding", "stride", "ceil_mode", "count_include_pad", "divisor_override"});
  if (a.has_divisor_override() && (a.divisor_override() != NumElements(w.size) || a.ceil_mode())) {
    s.Refuse("divisor_override", absl::StrCat("Keras divides by the window's cells, got ", a.divisor_override()));
  }
  const bool zeros = a.has_divisor_override() || a.count_include_pad();
  if (zeros && a.ceil_mode() && !AllEqual(w.lo, 0) && CeilMatters(s, w)) {
    return s.Refuse("ceil_mode|count_include_pad", "Keras has no divisor that counts the padding but not beyond it");
  }
  FinishToKeras<v1::AvgPool>(s, std::move(layer), w, a.ceil_mode(), zeros,
                             "Keras leaves padding out of its means with \"same\" windows only");
}

// Keras' global pooling is PyTorch's adaptive one with a single cell; without keepdims it is flattened.
void GlobalToPytorch(Site& s) {
  const bool max = absl::StrContains(s.kind(), "max");
  const int rank = s.rank(0);
  v1::Layer layer = s.Draft(absl::StrCat(max ? "adaptive_max_pool" : "adaptive_avg_pool", rank - 2, "d"), {"keepdims"});
  if (max) {
    static_cast<v1::AdaptiveMaxPool*>(MutableAttrs(&layer))->add_output_size(1);
  } else {
    static_cast<v1::AdaptiveAvgPool*>(MutableAttrs(&layer))->add_output_size(1);
  }
  const Layout layout{s.SpatialAxes(rank), {}, {}};
  const Made made = s.Main(layer, {s.In(0, layout.axes)});
  if (s.As<v1::GlobalPool>().keepdims()) return s.Put(made.edge, layout, s.arg(0).non_negative);
  s.Put(s.Helper("_flatten", MakeLayer("flatten"), {made.edge}), Layout::Plain(2), s.arg(0).non_negative);
}

// Windows of equal size are pooling; one window is global pooling.
void AdaptiveToKeras(Site& s) {
  const bool max = absl::StrContains(s.kind(), "max");
  const std::vector<int64_t> in = SpatialSizes(s);
  const Shape& out = s.results()[0].shape;
  if (s.results().size() > 1 && s.Used(1)) s.Refuse("return_indices", "Keras' pooling puts out no positions");
  bool global = true;
  std::vector<int64_t> window;
  for (size_t i = 0; i < in.size(); ++i) {
    global &= out[i + 2] == 1;
    if (in[i] % out[i + 2] != 0) {
      return s.Refuse("output_size",
                      absl::StrCat("Keras' windows are equal, and ", out[i + 2], " does not divide ", in[i]));
    }
    window.push_back(in[i] / out[i + 2]);
  }
  const std::string suffix = absl::StrCat(max ? "max" : "avg", "_pool", in.size(), "d");
  v1::Layer layer = s.Draft(global ? "global_" + suffix : suffix, {"output_size", "return_indices"});
  if (global) {
    static_cast<v1::GlobalPool*>(MutableAttrs(&layer))->set_keepdims(true);
  } else if (max) {
    SetList(window, static_cast<v1::MaxPool*>(MutableAttrs(&layer))->mutable_pool_size());
  } else {
    SetList(window, static_cast<v1::AvgPool*>(MutableAttrs(&layer))->mutable_pool_size());
  }
  const Layout layout{s.SpatialAxes(s.rank(0)), {}, {}};
  s.Put(s.Main(layer, {s.In(0, layout.axes)}).edge, layout, s.arg(0).non_negative);
}

}  // namespace

std::vector<Record> PoolRecords() {
  std::vector<Record> records;
  const auto add = [&](std::string kind, v1::Dialect from, void (*rule)(Site&)) {
    records.push_back({.kind = std::move(kind), .from = from, .axes = Axes::kSpatial, .rule = rule});
  };
  for (const char* axes : {"1d", "2d", "3d"}) {
    add(absl::StrCat("max_pool", axes), v1::KERAS, &PoolToPytorch<v1::MaxPool>);
    add(absl::StrCat("avg_pool", axes), v1::KERAS, &PoolToPytorch<v1::AvgPool>);
    add(absl::StrCat("max_pool", axes), v1::PYTORCH, &MaxToKeras);
    add(absl::StrCat("avg_pool", axes), v1::PYTORCH, &AvgToKeras);
    add(absl::StrCat("global_max_pool", axes), v1::KERAS, &GlobalToPytorch);
    add(absl::StrCat("global_avg_pool", axes), v1::KERAS, &GlobalToPytorch);
    add(absl::StrCat("adaptive_max_pool", axes), v1::PYTORCH, &AdaptiveToKeras);
    add(absl::StrCat("adaptive_avg_pool", axes), v1::PYTORCH, &AdaptiveToKeras);
  }
  return records;
}

}  // namespace strata::convert
