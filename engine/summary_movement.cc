// print(net) of modules without arithmetic of their own: padding, windows, resizing, reshaping, dropout.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/nn/schema.h"
#include "engine/summary.h"
#include "engine/summary_python.h"

namespace strata {
namespace {

// 0 keeps the input's size.
template <typename M>
std::string AdaptiveText(const v1::Layer& l, const M& a) {
  std::vector<std::string> sizes;
  for (int64_t v : a.output_size()) sizes.push_back(v == 0 ? "None" : absl::StrCat(v));
  return absl::StrCat("output_size=", NumberOrTuple(sizes, IsListed(l, "output_size")));
}

std::string UpsampleText(const v1::Upsample& a) {
  std::vector<std::string> factors;
  for (double f : a.scale_factor()) factors.push_back(PythonFloat(f));
  const std::string size = factors.empty()       ? absl::StrCat("size=", NumberOrTuple(a.size()))
                           : factors.size() == 1 ? absl::StrCat("scale_factor=", factors[0])
                                                 : absl::StrCat("scale_factor=(", absl::StrJoin(factors, ", "), ")");
  return absl::StrCat(size, ", mode='", a.mode(), "'");
}

template <typename M>
std::string WindowText(const M& a) {
  return absl::StrCat("kernel_size=", NumberOrTuple(a.kernel_size()), ", dilation=", NumberOrTuple(a.dilation()),
                      ", padding=", NumberOrTuple(a.padding()), ", stride=", NumberOrTuple(a.stride()));
}

// Cells on both sides of every axis.
template <typename M>
std::string CellsText(const M& a, const std::string& kind) {
  return PerAxisTuple(a.padding(), 2 * nn::SpatialAxes(kind));
}

std::string DropoutText(const v1::Layer& l, double rate) {
  return absl::StrCat("p=", PythonFloat(rate), ", inplace=", PythonBool(l.inplace()));
}

}  // namespace

std::string MovementArguments(const v1::Layer& l) {
  const std::string kind = nn::KindOf(l)->name();
  const google::protobuf::Message& attributes = l.GetReflection()->GetMessage(l, nn::KindOf(l));
  // Several kinds share these messages.
  if (const auto* a = google::protobuf::DynamicCastToGenerated<v1::AdaptiveAvgPool>(&attributes)) {
    return AdaptiveText(l, *a);
  }
  if (const auto* a = google::protobuf::DynamicCastToGenerated<v1::AdaptiveMaxPool>(&attributes)) {
    return AdaptiveText(l, *a);
  }
  if (const auto* a = google::protobuf::DynamicCastToGenerated<v1::PadCells>(&attributes)) return CellsText(*a, kind);
  if (const auto* a = google::protobuf::DynamicCastToGenerated<v1::ConstantPad>(&attributes)) {
    return absl::StrCat("padding=", CellsText(*a, kind), ", value=", PythonFloat(a->value()));
  }
  if (const auto* a = google::protobuf::DynamicCastToGenerated<v1::SpatialDropout>(&attributes)) {
    return DropoutText(l, a->rate());
  }
  switch (l.kind_case()) {
    case v1::Layer::kUpsample:
      return UpsampleText(l.upsample());
    case v1::Layer::kUnfold:
      return WindowText(l.unfold());
    case v1::Layer::kFold:
      return absl::StrCat("output_size=", NumberOrTuple(l.fold().output_size()), ", ", WindowText(l.fold()));
    case v1::Layer::kDropout:
      return DropoutText(l, l.dropout().rate());
    case v1::Layer::kAlphaDropout:
      return DropoutText(l, l.alpha_dropout().rate());
    case v1::Layer::kFlatten:
      return absl::StrCat("start_dim=", l.flatten().start_axis(), ", end_dim=", l.flatten().end_axis());
    default:
      return "";
  }
}

}  // namespace strata
