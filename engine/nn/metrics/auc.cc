// Area under a curve, as Keras computes it: counts at fixed thresholds, so that batches add up.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/metrics/metric.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

enum class Method { kInterpolation, kMinoring, kMajoring };

double Divide(double a, double b) { return b == 0 ? 0 : a / b; }

// The true and the false positives at each threshold, the lowest first: the first counts everything.
struct Counts {
  std::span<const double> tp, fp;

  explicit Counts(std::span<const double> sums)
      : tp(sums.subspan(0, sums.size() / 2)), fp(sums.subspan(sums.size() / 2)) {}
  size_t size() const { return tp.size(); }
  double recall(size_t i) const { return Divide(tp[i], tp[0]); }
  double false_rate(size_t i) const { return Divide(fp[i], fp[0]); }
  double precision(size_t i) const { return Divide(tp[i], tp[i] + fp[i]); }
};

double Height(Method method, double a, double b) {
  return method == Method::kMinoring ? std::min(a, b) : method == Method::kMajoring ? std::max(a, b) : (a + b) / 2;
}

template <Method kMethod>
double Roc(std::span<const double> sums) {
  const Counts c(sums);
  double area = 0;
  for (size_t i = 0; i + 1 < c.size(); ++i) {
    area += (c.false_rate(i) - c.false_rate(i + 1)) * Height(kMethod, c.recall(i), c.recall(i + 1));
  }
  return area;
}

template <Method kMethod>
double PrecisionRecall(std::span<const double> sums) {
  const Counts c(sums);
  double area = 0;
  for (size_t i = 0; i + 1 < c.size(); ++i) {
    if (kMethod != Method::kInterpolation) {
      area += (c.recall(i) - c.recall(i + 1)) * Height(kMethod, c.precision(i), c.precision(i + 1));
      continue;
    }
    // True positives are linear in the positives between two thresholds (Davis and Goadrich 2006).
    const double here = c.tp[i] + c.fp[i], next = c.tp[i + 1] + c.fp[i + 1], step = c.tp[i] - c.tp[i + 1];
    const double slope = Divide(step, std::max(here - next, 0.0)), intercept = c.tp[i + 1] - slope * next;
    const double ratio = here > 0 && next > 0 ? here / next : 1;
    area += Divide(slope * (step + intercept * std::log(ratio)), std::max(c.tp[0], 0.0));
  }
  return area;
}

template <Method kMethod>
double (*ResultOf(bool roc))(std::span<const double>) {
  return roc ? &Roc<kMethod> : &PrecisionRecall<kMethod>;
}

// Rows [1, n] of what predictions are compared with; `*scale` multiplies them first. Evenly spread thresholds are
// compared on the scale of their numbers, as Keras sorts into buckets; everything is above the first.
Value Thresholds(Scope& s, const v1::Auc& a, double* scale) {
  std::vector<double> t;
  *scale = 1;
  if (a.thresholds().empty()) {
    *scale = static_cast<double>(a.num_thresholds() - 1);
    for (int64_t i = 0; i < a.num_thresholds(); ++i) t.push_back(i == 0 ? -1 : static_cast<double>(i));
  } else {
    t.push_back(-1e-7);
    t.insert(t.end(), a.thresholds().begin(), a.thresholds().end());
    std::sort(t.begin(), t.end());
    t.push_back(1 + 1e-7);
  }
  return Constant(s.graph(), Tensor::Of(DType::kF32, {1, static_cast<int64_t>(t.size())}, t));
}

}  // namespace

MetricTerms BuildAuc(Scope& s, const v1::Auc& a, Value target, Value prediction, Value weight) {
  const auto column = [](Value v) { return Reshape(Cast(v, DType::kF32), {-1, 1}); };
  if (target.num_elements() != prediction.num_elements()) {
    s.Fail(absl::StrCat("target|y_true|y_pred: shapes ", ShapeString(target.shape()), " and ",
                        ShapeString(prediction.shape()), " do not fit"));
    return {};
  }
  if (weight) {
    Value w = Cast(weight, DType::kF32);
    while (w.rank() < prediction.rank()) w = ExpandDims(w, -1);
    if (!BroadcastShape(w.shape(), prediction.shape()).ok()) {
      s.Fail(absl::StrCat("sample_weight: ", ShapeString(weight.shape()), " does not fit ",
                          ShapeString(prediction.shape())));
      return {};
    }
    weight = column(Broadcast(w, prediction.shape()));
  }
  double scale = 1;
  const Value thresholds = Thresholds(s, a, &scale), t = column(target);
  const Value p = column(a.from_logits() ? Sigmoid(prediction) : prediction);
  const Value above = Cast(Greater(p * scale, thresholds), DType::kF32);
  const Value positive = weight ? t * weight : t, negative = weight ? (1.0 - t) * weight : 1.0 - t;
  const bool roc = a.curve() != "PR";
  const auto result = a.summation_method() == "minoring"   ? ResultOf<Method::kMinoring>(roc)
                      : a.summation_method() == "majoring" ? ResultOf<Method::kMajoring>(roc)
                                                           : ResultOf<Method::kInterpolation>(roc);
  return {{ReduceSum(above * positive, {0}), ReduceSum(above * negative, {0})}, result};
}

}  // namespace strata::nn
