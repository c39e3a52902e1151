// PyTorch's Upsample: spatial axes one after the other.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/resize.h"
#include "engine/nn/layers/spatial.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::Upsample& a, const Args& args) {
  Value x = args[0];
  const int axes = x.rank() - 2;
  if (axes < 1 || axes > 3) return {s.Fail(absl::StrCat("input: must have 3 to 5 axes, got ", ShapeString(x.shape())))};
  if (a.size().empty() == a.scale_factor().empty())
    return {
        s.Fail(absl::StrCat("size|scale_factor: exactly one must be given, got ", a.size().empty() ? "none" : "both"))};
  const std::string& mode = a.mode();
  const bool nearest = mode == "nearest" || mode == "nearest-exact";
  const int wanted = mode == "linear"                          ? 1
                     : mode == "bilinear" || mode == "bicubic" ? 2
                     : mode == "trilinear"                     ? 3
                                                               : axes;
  if (wanted != axes)
    return {s.Fail(absl::StrCat("mode|input: ", mode, " needs ", wanted + 2, " axes, got ", ShapeString(x.shape())))};
  if (nearest && a.has_align_corners())
    return {s.Fail(absl::StrCat("align_corners: must be absent with mode ", mode, ", got ", a.align_corners()))};
  for (const auto* list : {&a.size()}) {
    if (list->size() > 1 && list->size() != axes)
      return {s.Fail(absl::StrCat("size: must have 1 or ", axes, " entries, got ", list->size()))};
  }
  if (a.scale_factor_size() > 1 && a.scale_factor_size() != axes) {
    return {s.Fail(absl::StrCat("scale_factor: must have 1 or ", axes, " entries, got ", a.scale_factor_size()))};
  }
  for (int i = 0; i < axes; ++i) {
    const int axis = i + 2;
    const int64_t in = x.dim(axis);
    const double factor = a.scale_factor().empty() ? 0 : a.scale_factor(a.scale_factor_size() == 1 ? 0 : i);
    const double scaled = std::min(std::floor(static_cast<double>(in) * factor), 1e18);
    const int64_t out = factor > 0 ? static_cast<int64_t>(scaled) : a.size(a.size_size() == 1 ? 0 : i);
    if (out < 1 || in < 1)
      return {s.Fail(absl::StrCat("scale_factor|size|input: must leave something of axis ", axis, ", got ", out))};
    if (!CheckPlaces(s, "scale_factor|size", out)) return {Value{s.graph(), -1}};
    double ratio =
        factor > 0 && !a.recompute_scale_factor() ? 1 / factor : static_cast<double>(in) / static_cast<double>(out);
    if (nearest) {
      x = ApplyTaps(x, axis, NearestTaps(in, out, ratio, mode == "nearest-exact"));
      continue;
    }
    if (a.align_corners()) ratio = out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0;
    x = ApplyTaps(x, axis,
                  mode == "bicubic" ? BicubicTaps(in, out, ratio, a.align_corners(), false)
                                    : LinearTaps(in, out, ratio, a.align_corners()));
  }
  return {x};
}

}  // namespace

Components Upsample() {
  return Layer<v1::Upsample>("upsample", &Build)
      .Shapes("x[N, C, spatial...] -> y[N, C, spatial'...]")
      .With({"scale_factor: 2", {{2, 3, 4}}, v1::PYTORCH})
      .With({"size: [5, 3] mode: \"bilinear\"", {{1, 2, 3, 4}}, v1::PYTORCH})
      .With({"scale_factor: 1.7 mode: \"bicubic\"", {{1, 1, 3, 4}}, v1::PYTORCH})
      .With({"size: 3 mode: \"trilinear\" align_corners: true", {{1, 1, 2, 2, 4}}, v1::PYTORCH});
}

}  // namespace strata::nn
