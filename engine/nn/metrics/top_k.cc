// The target is among the k largest scores: fewer than k scores are larger than its own.
#include "engine/nn/metrics/mean.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

MetricTerms OfClass(Scope& s, int64_t k, Value labels, const MetricArgs& args) {
  const Value p = args.prediction;
  const Value own = ExpandDims(PickLast(p, labels), -1);
  const Value larger = ReduceSum(AsFloat(Greater(p, own)), {-1});
  return MeanOf(s, AsFloat(Less(larger, Like(larger, static_cast<double>(k)))), args.weight);
}

MetricTerms BuildOneHot(Scope& s, const v1::TopKCategoricalAccuracy& a, const MetricArgs& args) {
  if (!CheckFit(s, args.target, args.prediction)) return {};
  return OfClass(s, a.k(), ArgMax(args.target, -1), args);
}

MetricTerms BuildSparse(Scope& s, const v1::SparseTopKCategoricalAccuracy& a, const MetricArgs& args) {
  const Value p = args.prediction;
  Value t = args.target;
  if (t.rank() == p.rank() && t.dim(-1) == 1) t = strata::Squeeze(t, -1);
  if (!CheckFit(s, t, ReduceMax(p, {-1}))) return {};
  return OfClass(s, a.k(), Cast(t, DType::kI32), args);
}

}  // namespace

std::vector<MetricComponent> TopKMetrics() {
  return {Metric<v1::TopKCategoricalAccuracy>("top_k_categorical_accuracy", &BuildOneHot),
          Metric<v1::SparseTopKCategoricalAccuracy>("sparse_top_k_categorical_accuracy", &BuildSparse)};
}

}  // namespace strata::nn
