// Precision and recall. Labels by a threshold, Keras' largest k and single labels; class indices as torchmetrics does.
#include "engine/nn/metrics/classes.h"
#include "engine/nn/metrics/mean.h"
#include "engine/nn/metrics/positives.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

using Score = double (ClassCounts::*)(size_t) const;

// `a` is Precision or Recall, which have the same fields.
template <typename M>
MetricTerms Build(Scope& s, const M& a, const MetricArgs& args, Score score) {
  CountOptions options;
  if (a.has_ignore_index()) options.ignore_index = a.ignore_index();
  if (a.has_threshold()) options.threshold = a.threshold();
  Average average = Average::kMicro;
  std::vector<Value> sums;
  if (a.has_num_classes()) {
    average = AverageOf(a.average());
    sums = IndexCounts(s, args, a.num_classes(), options);
  } else if (s.pytorch()) {
    sums = LabelCounts(s, args, options);
  } else {
    PositiveOptions keras;
    if (a.has_threshold()) keras.threshold = a.threshold();
    if (a.has_top_k()) keras.top_k = a.top_k();
    if (a.has_class_id()) keras.class_id = a.class_id();
    const Positives p = PositivesOf(s, args, keras);
    if (!s.ok()) return {};
    sums = {SumAll(p.truth * p.guess * p.weight), SumAll(p.guess * p.weight), SumAll(p.truth * p.weight)};
  }
  if (!s.ok()) return {};
  return {std::move(sums), [average, score](std::span<const double> totals) {
            return AverageOver(ClassCounts::Of(totals), average, true,
                               [score](const ClassCounts& c, size_t i) { return (c.*score)(i); });
          }};
}

MetricTerms BuildPrecision(Scope& s, const v1::Precision& a, const MetricArgs& args) {
  return Build(s, a, args, &ClassCounts::precision);
}
MetricTerms BuildRecall(Scope& s, const v1::Recall& a, const MetricArgs& args) {
  return Build(s, a, args, &ClassCounts::recall);
}

}  // namespace

std::vector<MetricComponent> PrecisionMetrics() {
  return {Metric<v1::Precision>("precision", &BuildPrecision), Metric<v1::Recall>("recall", &BuildRecall)};
}

}  // namespace strata::nn
