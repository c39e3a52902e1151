// Padding and cropping layers, resizing.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/convert/rule.h"

namespace strata::convert {
namespace {

// (before, after) for each axis from one number, one for each axis, or a pair for each. One axis has two numbers as a
// pair.
std::vector<int64_t> PairsOf(const google::protobuf::RepeatedField<int64_t>& given, size_t axes) {
  std::vector<int64_t> pairs(2 * axes, given.empty() ? 0 : given[0]);
  const size_t n = given.size();
  for (size_t i = 0; i < pairs.size() && n > 1; ++i) pairs[i] = given[static_cast<int>(n == pairs.size() ? i : i / 2)];
  return pairs;
}

// The same, with the axes in the other order.
std::vector<int64_t> Turned(const std::vector<int64_t>& pairs) {
  std::vector<int64_t> turned(pairs.size());
  for (size_t i = 0; i < pairs.size(); ++i) turned[i] = pairs[pairs.size() - 2 - 2 * (i / 2) + i % 2];
  return turned;
}

// PyTorch: pairs from the last axis on; negative numbers crop.
void CellsToKeras(Site& s) {
  const size_t axes = s.rank(0) - 2;
  std::vector<int64_t> sides;
  if (s.layer().has_constant_pad1d() || s.layer().has_constant_pad2d() || s.layer().has_constant_pad3d()) {
    const auto& a = s.As<v1::ConstantPad>();
    if (a.value() != 0) s.Refuse("value", absl::StrCat("Keras pads with zeros only, got ", a.value()));
    sides = Turned(PairsOf(a.padding(), axes));
  } else {
    sides = Turned(PairsOf(s.As<v1::PadCells>().padding(), axes));
  }
  const Layout layout{s.SpatialAxes(s.rank(0)), {}, {}};
  const v1::Edge x = s.In(0, layout.axes);
  const bool crops = std::any_of(sides.begin(), sides.end(), [](int64_t n) { return n < 0; });
  const bool pads = std::any_of(sides.begin(), sides.end(), [](int64_t n) { return n > 0; });
  v1::Layer layer = MakeLayer(absl::StrCat(crops && !pads ? "cropping" : "zero_padding", axes, "d"));
  std::vector<int64_t> positive, negative;
  for (int64_t n : sides) {
    positive.push_back(std::max<int64_t>(n, 0));
    negative.push_back(std::max<int64_t>(-n, 0));
  }
  v1::Edge y = x;
  if (crops && pads) {
    v1::Layer crop = MakeLayer(absl::StrCat("cropping", axes, "d"));
    SetList(negative, static_cast<v1::Cropping*>(MutableAttrs(&crop))->mutable_cropping());
    y = s.Helper("_crop", crop, {y});
  }
  if (crops && !pads) {
    SetList(negative, static_cast<v1::Cropping*>(MutableAttrs(&layer))->mutable_cropping());
  } else {
    SetList(positive, static_cast<v1::ZeroPadding*>(MutableAttrs(&layer))->mutable_padding());
  }
  s.Put(s.Main(layer, {y}).edge, layout, s.arg(0).non_negative);
}

void PaddingToPytorch(Site& s, const std::vector<int64_t>& sides) {
  v1::Layer layer = MakeLayer(absl::StrCat("zero_pad", s.rank(0) - 2, "d"));
  SetList(Turned(sides), static_cast<v1::PadCells*>(MutableAttrs(&layer))->mutable_padding());
  const Layout layout{s.SpatialAxes(s.rank(0)), {}, {}};
  const v1::Edge x = s.In(0, layout.axes);
  s.Put(s.Main(layer, {x}).edge, layout, s.arg(0).non_negative);
}

void ZeroPaddingToPytorch(Site& s) { PaddingToPytorch(s, PairsOf(s.As<v1::ZeroPadding>().padding(), s.rank(0) - 2)); }

void CroppingToPytorch(Site& s) {
  google::protobuf::RepeatedField<int64_t> given = s.As<v1::Cropping>().cropping();
  if (given.empty()) given.Add(s.layer().has_cropping2d() ? 0 : 1);
  std::vector<int64_t> sides = PairsOf(given, s.rank(0) - 2);
  for (int64_t& n : sides) n = -n;
  PaddingToPytorch(s, sides);
}

void UpSamplingToPytorch(Site& s) {
  const auto& a = s.As<v1::UpSampling>();
  const size_t axes = s.rank(0) - 2;
  if (a.interpolation() == "bicubic") {
    s.Refuse("interpolation", "the two cubic kernels differ, and so do their edges, got bicubic");
  } else if (a.interpolation() != "nearest" && a.interpolation() != "bilinear" && a.interpolation() != "area") {
    s.Refuse("interpolation", absl::StrCat("PyTorch has no such kernel, got ", a.interpolation()));
  }
  v1::Layer layer = s.Draft("upsample", {"size", "interpolation"});
  for (int64_t factor : PerAxis(a.size(), axes, std::vector<int64_t>(axes, 2))) {
    layer.mutable_upsample()->add_scale_factor(static_cast<double>(factor));
  }
  if (a.interpolation() == "bilinear") layer.mutable_upsample()->set_mode("bilinear");
  const Layout layout{s.SpatialAxes(s.rank(0)), {}, {}};
  const v1::Edge x = s.In(0, layout.axes);
  s.Put(s.Main(layer, {x}).edge, layout, s.arg(0).non_negative);
}

void UpsampleToKeras(Site& s) {
  const auto& a = s.As<v1::Upsample>();
  const std::vector<int64_t> sizes = SpatialSizes(s);
  std::vector<int64_t> factors;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const int64_t out = s.results()[0].shape[i + 2];
    const double factor = a.scale_factor().empty()
                              ? static_cast<double>(out) / static_cast<double>(sizes[i])
                              : a.scale_factor(a.scale_factor_size() == 1 ? 0 : static_cast<int>(i));
    if (factor != std::floor(factor) || factor < 1) {
      return s.Refuse("scale_factor|size", absl::StrCat("Keras' factors are whole, got ", factor));
    }
    factors.push_back(static_cast<int64_t>(factor));
  }
  const bool nearest = a.mode() == "nearest" || a.mode() == "nearest-exact";
  if (!nearest && (a.mode() != "bilinear" || a.align_corners())) {
    s.Refuse("mode|align_corners", absl::StrCat("Keras has nearest and, of images, bilinear without aligned corners, "
                                                "got ",
                                                a.mode()));
  }
  v1::Layer layer = s.Draft(absl::StrCat("up_sampling", sizes.size(), "d"),
                            {"size", "scale_factor", "mode", "align_corners", "recompute_scale_factor"});
  auto* up = static_cast<v1::UpSampling*>(MutableAttrs(&layer));
  SetList(factors, up->mutable_size());
  if (!nearest) up->set_interpolation("bilinear");
  const Layout layout{s.SpatialAxes(s.rank(0)), {}, {}};
  const v1::Edge x = s.In(0, layout.axes);
  s.Put(s.Main(layer, {x}).edge, layout, s.arg(0).non_negative);
}

}  // namespace

std::vector<Record> PadRecords() {
  std::vector<Record> records;
  const auto add = [&](std::string kind, v1::Dialect from, void (*rule)(Site&)) {
    records.push_back({.kind = std::move(kind), .from = from, .axes = Axes::kSpatial, .rule = rule});
  };
  for (const char* axes : {"1d", "2d", "3d"}) {
    add(absl::StrCat("constant_pad", axes), v1::PYTORCH, &CellsToKeras);
    add(absl::StrCat("zero_pad", axes), v1::PYTORCH, &CellsToKeras);
    add(absl::StrCat("zero_padding", axes), v1::KERAS, &ZeroPaddingToPytorch);
    add(absl::StrCat("cropping", axes), v1::KERAS, &CroppingToPytorch);
    add(absl::StrCat("up_sampling", axes), v1::KERAS, &UpSamplingToPytorch);
  }
  add("upsample", v1::PYTORCH, &UpsampleToKeras);
  return records;
}

}  // namespace strata::convert
