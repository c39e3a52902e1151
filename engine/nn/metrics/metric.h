// Metrics: sums over a batch that add up over batches, and a value made of the sums.
//
// A metric is a message in metrics.proto, one file here (a family whose members differ in a line shares one) and a line
// in metric.cc.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/nn/scope.h"
#include "strata/v1/metrics.pb.h"

namespace strata::nn {

struct MetricTerms {
  std::vector<Value> sums;  // of this batch, of any shape
  // The metric from the elements of all sums, over any number of batches; NaN-free: 0 where nothing was counted.
  std::function<double(std::span<const double> sums)> result;
};

struct MetricArgs {
  Value target;
  Annotated prediction;
  Value weight;  // [N] or empty: of each sample
};

// What training hands to a metric. Keras' compile() gives flat targets and weights the last axis of predictions [N, C].
MetricArgs AsCompiled(const Scope& s, MetricArgs args);

// A metric as the catalog holds it; `name` is the member of Metric.kind.
struct MetricComponent {
  std::string name;
  std::function<MetricTerms(Scope& s, const v1::Metric& metric, const MetricArgs& args)> build;
};

// The attributes of a metric, whose kind must be set.
const google::protobuf::Message& AttributesOf(const v1::Metric& metric);

// A metric whose attributes are message M at member `name` of Metric.kind.
template <typename M>
MetricComponent Metric(const std::string& name, MetricTerms (*build)(Scope&, const M&, const MetricArgs&)) {
  return {name, [build](Scope& s, const v1::Metric& metric, const MetricArgs& args) {
            return build(s, static_cast<const M&>(AttributesOf(metric)), args);
          }};
}

const std::vector<MetricComponent>& Metrics();

// Shapes that do not fit fail the scope. The metric is resolved by shapes where the framework does so.
MetricTerms BuildMetric(Scope& s, const v1::Metric& metric, const MetricArgs& args);

// The name in results: the definition's own, or the kind's.
std::string MetricName(const v1::Metric& metric);

}  // namespace strata::nn
