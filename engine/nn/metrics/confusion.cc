// The four counts of a confusion matrix.
#include "engine/nn/metrics/positives.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

double First(std::span<const double> sums) { return sums[0]; }

// Elements whose truth is `truth` and whose prediction is `guess`.
MetricTerms Count(Scope& s, double threshold, const MetricArgs& args, bool truth, bool guess) {
  const Positives p = PositivesOf(s, args, {.threshold = threshold});
  if (!s.ok()) return {};
  const Value t = truth ? p.truth : 1.0 - p.truth, g = guess ? p.guess : 1.0 - p.guess;
  return {{SumAll(t * g * p.weight)}, &First};
}

MetricTerms BuildTruePositives(Scope& s, const v1::TruePositives& a, const MetricArgs& args) {
  return Count(s, a.threshold(), args, true, true);
}
MetricTerms BuildTrueNegatives(Scope& s, const v1::TrueNegatives& a, const MetricArgs& args) {
  return Count(s, a.threshold(), args, false, false);
}
MetricTerms BuildFalsePositives(Scope& s, const v1::FalsePositives& a, const MetricArgs& args) {
  return Count(s, a.threshold(), args, false, true);
}
MetricTerms BuildFalseNegatives(Scope& s, const v1::FalseNegatives& a, const MetricArgs& args) {
  return Count(s, a.threshold(), args, true, false);
}

}  // namespace

std::vector<MetricComponent> ConfusionMetrics() {
  return {Metric<v1::TruePositives>("true_positives", &BuildTruePositives),
          Metric<v1::TrueNegatives>("true_negatives", &BuildTrueNegatives),
          Metric<v1::FalsePositives>("false_positives", &BuildFalsePositives),
          Metric<v1::FalseNegatives>("false_negatives", &BuildFalseNegatives)};
}

}  // namespace strata::nn
