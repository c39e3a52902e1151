// Share of the variance of each column that is explained, from sums of t, t^2 and (t - p)^2.
#include "absl/strings/str_cat.h"
#include "engine/nn/metrics/mean.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// `sums`: for each column t, t^2, (t - p)^2, then the weight of all samples.
double R2Of(std::span<const double> sums, bool by_variance) {
  const size_t columns = (sums.size() - 1) / 3;
  const double count = sums[3 * columns];
  double sum = 0, weights = 0;
  for (size_t i = 0; i < columns; ++i) {
    const double variance = sums[columns + i] - sums[i] * Divide(sums[i], count);
    const double w = by_variance ? variance : 1;
    sum += variance == 0 ? 0 : w * (1 - sums[2 * columns + i] / variance);
    weights += w;
  }
  return Divide(sum, weights);
}

MetricTerms Build(Scope& s, const v1::R2Score& a, const MetricArgs& args) {
  Value t = args.target, p = args.prediction;
  Squeeze(&t, &p);
  if (t.shape() != p.shape() || t.rank() < 1 || t.rank() > 2) {
    s.Fail(absl::StrCat("target|y_true|y_pred: must be columns [N, C] of one shape, got ", ShapeString(t.shape()),
                        " and ", ShapeString(p.shape())));
    return {};
  }
  t = AsFloat(t);
  const Value w = SpreadWeight(s, args.weight, t.shape());
  if (!s.ok()) return {};
  const auto sum = [&](Value v) { return ReduceSum(v * w, {0}); };
  const Value count = SumAll(args.weight ? AsFloat(args.weight) : Full(s.graph(), 1, {t.dim(0)}));
  const bool by_variance = a.multioutput() != "uniform_average";
  return {{sum(t), sum(Square(t)), sum(Square(t - AsFloat(p))), count},
          [by_variance](std::span<const double> sums) { return R2Of(sums, by_variance); }};
}

}  // namespace

std::vector<MetricComponent> R2Metrics() { return {Metric<v1::R2Score>("r2_score", &Build)}; }

}  // namespace strata::nn
