// A component of the user's own: the mean of its values, or the quotient of two sums.
#include "engine/nn/custom/custom.h"
#include "absl/strings/str_cat.h"
#include "engine/nn/metrics/mean.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

MetricTerms Build(Scope& s, const v1::CustomMetric& use, const MetricArgs& args) {
  const v1::CustomComponent& d = use.definition();
  Scope named = s.Enter(d.name(), d.name(), true, std::nullopt);
  std::vector<Value> values = BuildCustomValues(named, d, use.hyperparameters(), args.target, args.prediction, {});
  if (!s.ok() || values.empty()) return {};
  if (values.size() > 2) {
    named.Fail(absl::StrCat("body: a METRIC must have one result or two, got ", values.size()));
    return {};
  }
  std::vector<Value> sums;
  for (const Value v : values) {
    const MetricTerms mean = MeanOf(named, AsFloat(v), v.rank() > 0 ? args.weight : Value{});
    if (!s.ok()) return {};
    if (values.size() == 1) return mean;
    sums.push_back(mean.sums[0]);
  }
  return {std::move(sums), &Ratio};
}

}  // namespace

std::vector<MetricComponent> CustomMetrics() { return {Metric<v1::CustomMetric>("custom", &Build)}; }

}  // namespace strata::nn
