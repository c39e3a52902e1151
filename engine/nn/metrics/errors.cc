// Means of errors: of squares, of absolute values, and the root of the mean of squares.
#include <cmath>

#include "engine/nn/metrics/mean.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

double RootOfRatio(std::span<const double> sums) { return std::sqrt(Ratio(sums)); }

// p - t, lined up; empty where they do not fit.
Value Difference(Scope& s, const MetricArgs& args) {
  Value t = args.target, p = args.prediction;
  Squeeze(&t, &p);
  return CheckFit(s, t, p) ? p - Cast(t, p.dtype()) : Value{};
}

// Samples first average over their last axis.
MetricTerms MeanOfRows(Scope& s, Value values, Value weight) {
  return MeanOf(s, values.rank() > 1 ? ReduceMean(values, {-1}) : values, weight);
}

MetricTerms BuildSquared(Scope& s, const v1::MeanSquaredErrorMetric&, const MetricArgs& args) {
  const Value d = Difference(s, args);
  return d ? MeanOfRows(s, Square(d), args.weight) : MetricTerms{};
}
MetricTerms BuildAbsolute(Scope& s, const v1::MeanAbsoluteErrorMetric&, const MetricArgs& args) {
  const Value d = Difference(s, args);
  return d ? MeanOfRows(s, Abs(d), args.weight) : MetricTerms{};
}
// Over all elements at once.
MetricTerms BuildRoot(Scope& s, const v1::RootMeanSquaredErrorMetric&, const MetricArgs& args) {
  const Value d = Difference(s, args);
  if (!d) return {};
  MetricTerms terms = MeanOf(s, Square(d), args.weight);
  terms.result = &RootOfRatio;
  return terms;
}

}  // namespace

std::vector<MetricComponent> ErrorMetrics() {
  return {Metric<v1::MeanSquaredErrorMetric>("mean_squared_error", &BuildSquared),
          Metric<v1::MeanAbsoluteErrorMetric>("mean_absolute_error", &BuildAbsolute),
          Metric<v1::RootMeanSquaredErrorMetric>("root_mean_squared_error", &BuildRoot)};
}

}  // namespace strata::nn
