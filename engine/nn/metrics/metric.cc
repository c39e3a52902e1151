// The list of metrics. A new metric is one file and one line here.
#include "engine/nn/metrics/metric.h"

#include "engine/base/status.h"
#include "engine/nn/schema.h"
#include "engine/ops/ops.h"

namespace strata::nn {

std::vector<MetricComponent> AccuracyMetrics();
std::vector<MetricComponent> AtThresholdMetrics();
std::vector<MetricComponent> AucMetrics();
std::vector<MetricComponent> ConfusionMetrics();
std::vector<MetricComponent> CosineSimilarityMetrics();
std::vector<MetricComponent> CustomMetrics();
std::vector<MetricComponent> ErrorMetrics();
std::vector<MetricComponent> FScoreMetrics();
std::vector<MetricComponent> IouMetrics();
std::vector<MetricComponent> LossMetrics();
std::vector<MetricComponent> PrecisionMetrics();
std::vector<MetricComponent> R2Metrics();
std::vector<MetricComponent> TopKMetrics();

const std::vector<MetricComponent>& Metrics() {
  static const std::vector<MetricComponent> list = [] {
    std::vector<MetricComponent> all;
    for (auto family :
         {AccuracyMetrics, AtThresholdMetrics, AucMetrics, ConfusionMetrics, CosineSimilarityMetrics, CustomMetrics,
          ErrorMetrics, FScoreMetrics, IouMetrics, LossMetrics, PrecisionMetrics, R2Metrics, TopKMetrics}) {
      for (MetricComponent& c : family()) all.push_back(std::move(c));
    }
    return all;
  }();
  return list;
}

MetricArgs AsCompiled(const Scope& s, MetricArgs args) {
  if (s.pytorch() || !args.target || !args.prediction.value || args.prediction.value.rank() != 2) return args;
  if (args.target.rank() == 1) args.target = ExpandDims(args.target, -1);
  if (args.weight && args.weight.rank() == 1) args.weight = ExpandDims(args.weight, -1);
  return args;
}

const google::protobuf::Message& AttributesOf(const v1::Metric& metric) {
  const auto* kind = KindOf(metric);
  STRATA_CHECK(kind != nullptr);
  return metric.GetReflection()->GetMessage(metric, kind);
}

MetricTerms BuildMetric(Scope& s, const v1::Metric& metric, const MetricArgs& args) {
  if (!s.ok() || !args.target || !args.prediction.value) return {};
  const auto* kind = KindOf(metric);
  for (const MetricComponent& c : Metrics()) {
    if (kind != nullptr && c.name == kind->name()) return c.build(s, metric, args);
  }
  s.Fail("metric.kind: must be set, got none");
  return {};
}

std::string MetricName(const v1::Metric& m) {
  if (!m.name().empty()) return m.name();
  const auto* kind = KindOf(m);
  if (m.has_custom()) return m.custom().definition().name();
  if (m.has_loss()) kind = KindOf(m.loss());
  return kind == nullptr ? "metric" : kind->name();
}

}  // namespace strata::nn
