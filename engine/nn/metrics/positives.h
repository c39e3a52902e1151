// Labels and thresholds, as Keras' metrics of positives and negatives take them.
#pragma once

#include <optional>

#include "engine/nn/metrics/metric.h"

namespace strata::nn {

struct PositiveOptions {
  std::optional<double> threshold;  // absent: 0.5, and with top_k nothing but being among the k
  std::optional<int64_t> top_k;
  std::optional<int64_t> class_id;
};
// All 0, 1 or a weight, of one shape.
struct Positives {
  Value truth, guess, weight;
};
// Fails where shapes do not fit or the class is none of the last axis.
Positives PositivesOf(Scope& s, const MetricArgs& args, const PositiveOptions& options);

// Prediction and target of one label of the last axis, or both as they are.
bool TakeLabel(Scope& s, std::optional<int64_t> class_id, Value* target, Value* prediction);

// True and false positives at fixed thresholds: [labels, thresholds] each.
struct CurveOptions {
  std::vector<double> thresholds;
  // Thresholds are evenly spread from 0 to 1: compared on the scale of their numbers, as Keras sorts into buckets.
  bool even = true;
  // Everything, 0 too, is above the first of them.
  bool zero_counts = true;
  int64_t labels = 1;  // columns that are counted apart
};
// `weight`: of each element, or empty.
std::vector<Value> CurveCounts(Graph* g, Value target, Value prediction, Value weight, const CurveOptions& options);

}  // namespace strata::nn
