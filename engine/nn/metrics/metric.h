// Metrics: sums over a batch that add up over batches, and a value made of the sums.
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

// `weight` [N] or empty weighs samples. The metric is resolved by shapes where the framework does so.
MetricTerms BuildMetric(Scope& s, const v1::Metric& metric, Value target, const Annotated& prediction, Value weight);

// Keras' AUC; in a file of its own.
MetricTerms BuildAuc(Scope& s, const v1::Auc& a, Value target, Value prediction, Value weight);

// The name in results: the definition's own, or the kind's.
std::string MetricName(const v1::Metric& metric);

}  // namespace strata::nn
