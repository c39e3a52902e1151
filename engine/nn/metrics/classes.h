// True positives, predictions and targets of each class or label: what precision, recall and F scores are made of.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "engine/nn/metrics/metric.h"

namespace strata::nn {

// One count of each for every class.
struct ClassCounts {
  std::span<const double> right, predicted, actual;

  // The three sums of a MetricTerms.
  static ClassCounts Of(std::span<const double> sums);
  size_t size() const { return right.size(); }
  double precision(size_t i) const;
  double recall(size_t i) const;
};

enum class Average { kMicro, kMacro, kWeighted };
Average AverageOf(const std::string& text);

// The mean of `score` over classes: of all classes together, of each, or of each times its number of targets.
// `skip_absent` leaves out of the plain mean classes that are neither predicted nor true (torchmetrics).
double AverageOver(const ClassCounts& c, Average average, bool skip_absent,
                   const std::function<double(const ClassCounts&, size_t)>& score);

// Which elements count. Targets of `ignore_index` do not.
struct CountOptions {
  double threshold = 0.5;
  std::optional<int64_t> ignore_index;
};
// Sums right, predicted, actual over all elements: a label each, positive above the threshold.
std::vector<Value> LabelCounts(Scope& s, const MetricArgs& args, const CountOptions& options);
// Of class indices and scores [N, C, ...] (or indices): the largest score is the prediction, the first of equal ones.
std::vector<Value> IndexCounts(Scope& s, const MetricArgs& args, int64_t num_classes, const CountOptions& options);
// Of labels as they are: `truth` and `guess` are 0 or 1, [N, C]; each sum has C elements.
std::vector<Value> CountsOf(Value truth, Value guess, Value weight);

// 1 where a target counts, times the sample's weight.
Value Counted(Scope& s, Value target, Value weight, std::optional<int64_t> ignore_index);

}  // namespace strata::nn
