// A use of every component that is no layer, for component_walk_test.cc: attributes, and the model and data that it
// needs.
#pragma once

#include <string>
#include <vector>

namespace strata::e2e {

// What a batch's targets look like, for 4 rows and 3 outputs each.
enum class Target {
  kNone,
  kReals,          // [4, 3], of any size
  kPositive,       // [4, 3], above 0
  kProbabilities,  // [4, 3], each row sums to 1
  kBinary,         // [4, 3], 0 or 1
  kOneHot,         // [4, 3]
  kSigns,          // [4, 3], -1 or 1
  kRowSigns,       // [4], -1 or 1
  kClasses,        // [4], int64
  kLabels,         // [4, 3], int64, -1 after the last
  kAlignment,      // [2], int64: labels of one sequence
};

struct LossSample {
  std::string attributes;
  std::string pytorch_head, keras_head;  // layers after the linear one
  Target target = Target::kReals;
  int further_outputs = 0;
};
struct MetricSample {
  std::string attributes;
  Target target = Target::kReals;
};
// Attributes in each dialect.
struct PlainSample {
  std::string pytorch, keras;
};

// Null for a component that the test does not know: then it fails. `name` is the catalog's.
const LossSample* FindLoss(const std::string& name);
const MetricSample* FindMetric(const std::string& name);
// Optimizers, schedules, initializers, constraints, activations.
const PlainSample* FindPlain(const std::string& family, const std::string& name);

}  // namespace strata::e2e
