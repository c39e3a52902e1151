// Keras' cosine: each vector over its length, at least 1e-6.
#include "absl/strings/str_cat.h"
#include "engine/nn/metrics/mean.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

MetricTerms Build(Scope& s, const v1::CosineSimilarityMetric& a, const MetricArgs& args) {
  Value t = args.target, p = args.prediction;
  Squeeze(&t, &p);
  if (!CheckFit(s, t, p)) return {};
  const int64_t axis = a.axis();
  if (axis < -p.rank() || axis >= p.rank()) {
    s.Fail(absl::StrCat("axis: must name one of ", p.rank(), " axes, got ", axis));
    return {};
  }
  const auto unit = [axis](Value v) { return v / Sqrt(Max(ReduceSum(Square(v), {axis}, true), 1e-12)); };
  return MeanOf(s, ReduceSum(unit(Cast(t, p.dtype())) * unit(p), {axis}), args.weight);
}

}  // namespace

std::vector<MetricComponent> CosineSimilarityMetrics() {
  return {Metric<v1::CosineSimilarityMetric>("cosine_similarity", &Build)};
}

}  // namespace strata::nn
