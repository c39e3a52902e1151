#include "engine/nn/layers/adaptive_log_softmax.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// x W^T with PyTorch's initial weights. No features give zeros.
Value Project(Scope& s, const std::string& name, Value x, int64_t units) {
  const int64_t in = x.dim(-1);
  const Value w = s.Param(name, {units, in}, {.initializer = Uniform(1 / std::sqrt(std::max<double>(in, 1)))});
  return MatMul(x, w, false, true);
}

Outputs BuildLayer(Scope& s, const v1::AdaptiveLogSoftmax& a, const Args& args) {
  const AdaptiveOutputs out = BuildAdaptiveLogSoftmax(s, a, args[0]);
  return {out.log_prob, out.predict};
}

}  // namespace

AdaptiveOutputs BuildAdaptiveLogSoftmax(Scope& s, const v1::AdaptiveLogSoftmax& a, Value x) {
  const AdaptiveOutputs none{{s.graph(), -1}, {s.graph(), -1}};
  if (!x || x.rank() != 2 || x.dim(1) != a.in_features()) {
    if (x) s.Fail(absl::StrCat("in_features|input: must be [N, ", a.in_features(), "], got ", ShapeString(x.shape())));
    return none;
  }
  const int clusters = a.cutoffs_size();
  const int64_t shortlist = a.cutoffs(0);
  Value head = Project(s, "head.weight", x, shortlist + clusters);
  if (a.head_bias()) {
    const double bound = 1 / std::sqrt(static_cast<double>(a.in_features()));
    head = head + s.Param("head.bias", {shortlist + clusters}, {.initializer = Uniform(bound)});
  }
  const Value head_log_p = LogSoftmax(head, -1);
  std::vector<Value> parts{SliceAxis(head_log_p, 1, 0, shortlist)};
  for (int i = 0; i < clusters; ++i) {
    const int64_t end = i + 1 < clusters ? a.cutoffs(i + 1) : a.n_classes();
    const auto features =
        static_cast<int64_t>(std::floor(static_cast<double>(a.in_features()) / std::pow(a.div_value(), i + 1)));
    if (features < 1) {
      s.Fail(absl::StrCat("div_value|in_features: cluster ", i, " must keep a feature, got ", a.div_value(), " and ",
                          a.in_features()));
      return none;
    }
    const std::string tail = absl::StrCat("tail.", i, ".");
    const Value hidden = Project(s, tail + "0.weight", x, features);
    const Value log_p = LogSoftmax(Project(s, tail + "1.weight", hidden, end - a.cutoffs(i)), -1);
    parts.push_back(log_p + SliceAxis(head_log_p, 1, shortlist + i, 1));
  }
  if (!s.ok()) return none;
  const Value log_prob = Concat(parts, 1);
  // Only where the head names a cluster does the choice lie with its classes.
  const Value first = ArgMax(head, 1);
  const Value predict = Select(Less(first, Like(first, static_cast<double>(shortlist))), first, ArgMax(log_prob, 1));
  return {log_prob, Cast(predict, DType::kI64)};
}

Component AdaptiveLogSoftmax() {
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
