// Ranges of hyper-parameters.
#include <cmath>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"
#include "engine/nn/custom/custom.h"

namespace strata::nn {
namespace {

using google::protobuf::Value;

bool HasBounds(const v1::Hyperparameter& h) {
  return h.has_at_least() || h.has_above() || h.has_at_most() || h.has_below();
}

absl::Status CheckNumber(const std::string& path, const v1::Hyperparameter& h, double v) {
  const auto refuse = [&](const char* rule, double bound) {
    return InvalidArgument(path, ": must be ", rule, " ", bound, ", got ", v);
  };
  if (h.has_at_least() && v < h.at_least()) return refuse(">=", h.at_least());
  if (h.has_above() && v <= h.above()) return refuse(">", h.above());
  if (h.has_at_most() && v > h.at_most()) return refuse("<=", h.at_most());
  if (h.has_below() && v >= h.below()) return refuse("<", h.below());
  return absl::OkStatus();
}

absl::Status CheckText(const std::string& path, const v1::Hyperparameter& h, const std::string& v) {
  for (const std::string& allowed : h.one_of()) {
    if (v == allowed) return absl::OkStatus();
  }
  return InvalidArgument(path, ": must be one of ", absl::StrJoin(h.one_of(), ", "), ", got \"", v, "\"");
}

}  // namespace

absl::Status CheckRangeOf(const std::string& path, const v1::Hyperparameter& h, const Value& v) {
  switch (v.kind_case()) {
    case Value::kNumberValue:
      return CheckNumber(path, h, v.number_value());
    case Value::kStringValue:
      return h.one_of().empty() ? absl::OkStatus() : CheckText(path, h, v.string_value());
    case Value::kListValue:
      for (int i = 0; i < v.list_value().values_size(); ++i) {
        STRATA_RETURN_IF_ERROR(CheckRangeOf(absl::StrCat(path, "[", i, "]"), h, v.list_value().values(i)));
      }
      return absl::OkStatus();
    default:
      return absl::OkStatus();
  }
}

absl::Status CheckRangeItself(const std::string& path, const v1::Hyperparameter& h) {
  using H = v1::Hyperparameter;
  for (const auto& [name, has, bound] :
       {std::tuple{".at_least", h.has_at_least(), h.at_least()}, std::tuple{".above", h.has_above(), h.above()},
        std::tuple{".at_most", h.has_at_most(), h.at_most()}, std::tuple{".below", h.has_below(), h.below()}}) {
    if (has && !std::isfinite(bound)) return InvalidArgument(path, name, ": must be finite, got ", bound);
  }
  if (HasBounds(h) && (h.type() == H::BOOL || h.type() == H::STRING)) {
    return InvalidArgument(path, ".at_least|above|at_most|below: belong to numbers and lists, got one for ",
                           H::Type_Name(h.type()));
  }
  if (!h.one_of().empty() && h.type() != H::STRING && h.type() != H::LIST && h.type() != H::TYPE_UNSPECIFIED) {
    return InvalidArgument(path, ".one_of: belongs to STRING, got one for ", H::Type_Name(h.type()));
  }
  const double low = h.has_at_least() ? h.at_least() : h.above(), high = h.has_at_most() ? h.at_most() : h.below();
  const bool both = (h.has_at_least() || h.has_above()) && (h.has_at_most() || h.has_below());
  const bool open = (h.has_above() && h.above() >= low) || (h.has_below() && h.below() <= high);
  if (both && (low > high || (low == high && open))) {
    return InvalidArgument(path, ".at_least|above|at_most|below: must leave a value, got ", low, " to ", high);
  }
  return absl::OkStatus();
}

}  // namespace strata::nn
