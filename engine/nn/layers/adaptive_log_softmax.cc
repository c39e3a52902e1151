#include "engine/nn/layers/adaptive_log_softmax.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// A weight with PyTorch's initial values. There may be no features.
Value Weight(Scope& s, const std::string& name, int64_t units, int64_t features) {
  const double bound = 1 / std::sqrt(std::max(static_cast<double>(features), 1.0));
  return s.Param(name, {units, features}, {.initializer = Uniform(bound)});
}

Outputs BuildLayer(Scope& s, const v1::AdaptiveLogSoftmax& a, const Args& args) {
  const AdaptiveOutputs out = BuildAdaptiveLogSoftmax(s, a, args[0]);
  return {out.log_prob, out.predict};
}

}  // namespace

int64_t AdaptiveTailFeatures(const v1::AdaptiveLogSoftmax& a, int cluster) {
  return static_cast<int64_t>(std::floor(static_cast<double>(a.in_features()) / std::pow(a.div_value(), cluster + 1)));
}

AdaptiveOutputs BuildAdaptiveLogSoftmax(Scope& s, const v1::AdaptiveLogSoftmax& a, Value x) {
  const AdaptiveOutputs none{{s.graph(), -1}, {s.graph(), -1}};
  if (!x || x.rank() != 2 || x.dim(1) != a.in_features()) {
    if (x) s.Fail(absl::StrCat("in_features|input: must be [N, ", a.in_features(), "], got ", ShapeString(x.shape())));
    return none;
  }
  const int clusters = a.cutoffs_size();
  const int64_t shortlist = a.cutoffs(0);
  Value head = MatMul(x, Weight(s, "head.weight", shortlist + clusters, a.in_features()), false, true);
  if (a.head_bias()) {
    const double bound = 1 / std::sqrt(static_cast<double>(a.in_features()));
    head = head + s.Param("head.bias", {shortlist + clusters}, {.initializer = Uniform(bound)});
  }
  const Value head_log_p = LogSoftmax(head, -1);
  std::vector<Value> parts{SliceAxis(head_log_p, 1, 0, shortlist)};
  for (int i = 0; i < clusters; ++i) {
    const int64_t end = i + 1 < clusters ? a.cutoffs(i + 1) : a.n_classes();
    const int64_t features = AdaptiveTailFeatures(a, i);
    const std::string tail = absl::StrCat("tail.", i, ".");
    const int64_t classes = end - a.cutoffs(i);
    const Value down = Weight(s, tail + "0.weight", features, a.in_features());
    const Value up = Weight(s, tail + "1.weight", classes, features);
    // A projection to nothing leaves the cluster's classes equal.
    const Value log_p = features == 0 ? Full(s.graph(), -std::log(static_cast<double>(classes)), {x.dim(0), classes})
                                      : LogSoftmax(MatMul(MatMul(x, down, false, true), up, false, true), -1);
    parts.push_back(log_p + SliceAxis(head_log_p, 1, shortlist + i, 1));
  }
  if (!s.ok()) return none;
  const Value log_prob = Concat(parts, 1);
  // Only where the head names a cluster does the choice lie with its classes.
  const Value first = ArgMax(head, 1);
  const Value predict = Select(Less(first, Like(first, static_cast<double>(shortlist))), first, ArgMax(log_prob, 1));
  return {log_prob, Cast(predict, DType::kI64)};
}

Components AdaptiveLogSoftmax() {
  return Layer<v1::AdaptiveLogSoftmax>("adaptive_log_softmax", &BuildLayer)
      .Shapes("x[N, in_features] -> log_prob[N, n_classes], predict[N]")
      .With("in_features: 5 n_classes: 7 cutoffs: 2 cutoffs: 4 div_value: 2", {{3, 5}})
      .With("in_features: 17 n_classes: 12 cutoffs: 4 cutoffs: 8 head_bias: true", {{2, 17}})
      .With("in_features: 4 n_classes: 3 cutoffs: 1", {{5, 4}})
      .Reject("in_features: 4 n_classes: 3 cutoffs: 3", {{5, 4}}, "cutoffs")
      .Reject("in_features: 4 n_classes: 5 cutoffs: 2 cutoffs: 2", {{5, 4}}, "cutoffs")
      .Reject("in_features: 4 n_classes: 5 cutoffs: 2", {{5, 3}}, "in_features");
}

}  // namespace strata::nn
