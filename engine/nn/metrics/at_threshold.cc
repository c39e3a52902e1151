// The best of one rate where another reaches a value: from counts at fixed thresholds, as Keras computes it.
#include "engine/nn/metrics/mean.h"
#include "engine/nn/metrics/positives.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

// At one threshold.
struct Counts {
  double tp, fp, positives, negatives;

  double sensitivity() const { return Divide(tp, positives); }
  double specificity() const { return Divide(negatives - fp, negatives); }
  double precision() const { return Divide(tp, tp + fp); }
};
using Rate = double (Counts::*)() const;

template <typename M>
MetricTerms Build(Scope& s, const M& a, double reached, Rate constrained, Rate best, const MetricArgs& args) {
  Value t = args.target, p = args.prediction;
  Squeeze(&t, &p);
  if (!CheckFit(s, t, p)) return {};
  std::optional<int64_t> label;
  if (a.has_class_id()) label = a.class_id();
  if (!TakeLabel(s, label, &t, &p)) return {};
  const Shape shape = BroadcastShape(t.shape(), p.shape()).value();
  t = Broadcast(t, shape);
  p = Broadcast(p, shape);
  const Value weight = args.weight ? SpreadWeight(s, args.weight, shape) : Value{};
  if (!s.ok()) return {};
  CurveOptions options{.zero_counts = false};
  const int64_t n = a.num_thresholds();
  for (int64_t i = 0; i < n; ++i) options.thresholds.push_back(static_cast<double>(i) / static_cast<double>(n - 1));
  if (n == 1) options.thresholds = {0.5};
  // Keras compares two thresholds or one as they are.
  options.even = n > 2;
  std::vector<Value> counts = CurveCounts(s.graph(), t, p, weight, options);
  t = AsFloat(t);
  const auto total = [&](Value v) { return SumAll(weight ? v * weight : v); };
  counts.push_back(total(t));
  counts.push_back(total(1.0 - t));
  return {std::move(counts), [reached, constrained, best](std::span<const double> sums) {
            const size_t num = sums.size() / 2 - 1;
            double found = 0;
            for (size_t i = 0; i < num; ++i) {
              const Counts c{sums[i], sums[num + i], sums[2 * num], sums[2 * num + 1]};
              if ((c.*constrained)() >= reached) found = std::max(found, (c.*best)());
            }
            return found;
          }};
}

MetricTerms BuildSensitivity(Scope& s, const v1::SensitivityAtSpecificity& a, const MetricArgs& args) {
  return Build(s, a, a.specificity(), &Counts::specificity, &Counts::sensitivity, args);
}
MetricTerms BuildSpecificity(Scope& s, const v1::SpecificityAtSensitivity& a, const MetricArgs& args) {
  return Build(s, a, a.sensitivity(), &Counts::sensitivity, &Counts::specificity, args);
}
MetricTerms BuildPrecision(Scope& s, const v1::PrecisionAtRecall& a, const MetricArgs& args) {
  return Build(s, a, a.recall(), &Counts::sensitivity, &Counts::precision, args);
}
MetricTerms BuildRecall(Scope& s, const v1::RecallAtPrecision& a, const MetricArgs& args) {
  return Build(s, a, a.precision(), &Counts::precision, &Counts::sensitivity, args);
}

}  // namespace

std::vector<MetricComponent> AtThresholdMetrics() {
  return {Metric<v1::SensitivityAtSpecificity>("sensitivity_at_specificity", &BuildSensitivity),
          Metric<v1::SpecificityAtSensitivity>("specificity_at_sensitivity", &BuildSpecificity),
          Metric<v1::PrecisionAtRecall>("precision_at_recall", &BuildPrecision),
          Metric<v1::RecallAtPrecision>("recall_at_precision", &BuildRecall)};
}

}  // namespace strata::nn
