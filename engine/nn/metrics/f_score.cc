// (1 + beta^2) P R / (beta^2 P + R): Keras over labels [N, C], PyTorch (torchmetrics) over labels or class indices.
#include "absl/strings/str_cat.h"
#include "engine/nn/metrics/classes.h"
#include "engine/nn/metrics/mean.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Keras: the largest scores of a row are positive, but for those that are 0; or those above the threshold.
std::vector<Value> KerasCounts(Scope& s, std::optional<double> threshold, const MetricArgs& args) {
  const Value t = args.target, p = args.prediction;
  if (p.rank() != 2 || t.shape() != p.shape()) {
    s.Fail(absl::StrCat("y_true|y_pred: must be labels [N, C], got ", ShapeString(t.shape()), " and ",
                        ShapeString(p.shape())));
    return {};
  }
  const Value guess = threshold.has_value()
                          ? Greater(p, Like(p, *threshold))
                          : And(GreaterEqual(p, ReduceMax(p, {-1}, true)), Greater(Abs(p), Like(p, 1e-9)));
  const Value w = SpreadWeight(s, args.weight, p.shape());
  if (!s.ok()) return {};
  return CountsOf(AsFloat(t), AsFloat(guess), w);
}

// `a` is FBetaScore or F1Score.
template <typename M>
MetricTerms Build(Scope& s, const M& a, double beta, const MetricArgs& args) {
  if (!a.has_average()) {
    s.Fail("average: must be one of micro, macro, weighted: a metric has one value, got none");
    return {};
  }
  CountOptions options;
  if (a.has_ignore_index()) options.ignore_index = a.ignore_index();
  std::optional<double> threshold;
  if (a.has_threshold()) threshold = options.threshold = a.threshold();
  std::vector<Value> sums = a.has_num_classes() ? IndexCounts(s, args, a.num_classes(), options)
                            : s.pytorch()       ? LabelCounts(s, args, options)
                                                : KerasCounts(s, threshold, args);
  if (!s.ok()) return {};
  const double square = beta * beta;
  return {std::move(sums),
          [average = AverageOf(a.average()), square, torch = s.pytorch()](std::span<const double> totals) {
            return AverageOver(ClassCounts::Of(totals), average, torch, [square](const ClassCounts& c, size_t i) {
              return Divide((1 + square) * c.right[i], square * c.actual[i] + c.predicted[i]);
            });
          }};
}

MetricTerms BuildFBeta(Scope& s, const v1::FBetaScore& a, const MetricArgs& args) {
  return Build(s, a, a.beta(), args);
}
MetricTerms BuildF1(Scope& s, const v1::F1Score& a, const MetricArgs& args) { return Build(s, a, 1, args); }

}  // namespace

std::vector<MetricComponent> FScoreMetrics() {
  return {Metric<v1::FBetaScore>("fbeta_score", &BuildFBeta), Metric<v1::F1Score>("f1_score", &BuildF1)};
}

}  // namespace strata::nn
