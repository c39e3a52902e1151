// Area under a curve, as Keras computes it: counts at fixed thresholds, so that batches add up.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/metrics/mean.h"
#include "engine/nn/metrics/positives.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

enum class Method { kInterpolation, kMinoring, kMajoring };

// The true and the false positives at each threshold, the lowest first: the first counts everything.
struct Curve {
  std::span<const double> tp, fp;

  size_t size() const { return tp.size(); }
  double recall(size_t i) const { return Divide(tp[i], tp[0]); }
  double false_rate(size_t i) const { return Divide(fp[i], fp[0]); }
  double precision(size_t i) const { return Divide(tp[i], tp[i] + fp[i]); }
  // Flach and Kull 2015; Keras keeps the gain of recall above zero.
  double recall_gain(size_t i) const {
    return tp[i] == 0 ? 0 : std::max(0.0, 1 - Divide(tp[0], fp[0]) * (tp[0] - tp[i]) / tp[i]);
  }
  double precision_gain(size_t i) const { return tp[i] == 0 ? 1 : 1 - Divide(tp[0], fp[0]) * fp[i] / tp[i]; }
};

double Height(Method method, double a, double b) {
  return method == Method::kMinoring ? std::min(a, b) : method == Method::kMajoring ? std::max(a, b) : (a + b) / 2;
}

double Roc(Method method, const Curve& c) {
  double area = 0;
  for (size_t i = 0; i + 1 < c.size(); ++i) {
    area += (c.false_rate(i) - c.false_rate(i + 1)) * Height(method, c.recall(i), c.recall(i + 1));
  }
  return area;
}

double PrecisionRecall(Method method, const Curve& c) {
  double area = 0;
  for (size_t i = 0; i + 1 < c.size(); ++i) {
    if (method != Method::kInterpolation) {
      area += (c.recall(i) - c.recall(i + 1)) * Height(method, c.precision(i), c.precision(i + 1));
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

double PrecisionRecallGain(Method method, const Curve& c) {
  double area = 0;
  for (size_t i = 0; i + 1 < c.size(); ++i) {
    area += (c.recall_gain(i) - c.recall_gain(i + 1)) * Height(method, c.precision_gain(i), c.precision_gain(i + 1));
  }
  return area;
}

// The mean of the labels' areas, weighted if there are weights. `sums` holds the true positives of each label at each
// threshold, then the false ones.
struct Result {
  Method method;
  double (*area)(Method, const Curve&);
  size_t labels;
  std::vector<double> weights;

  double operator()(std::span<const double> sums) const {
    const size_t half = sums.size() / 2, thresholds = half / labels;
    double total = 0, weight = 0;
    for (size_t i = 0; i < labels; ++i) {
      const Curve c{sums.subspan(i * thresholds, thresholds), sums.subspan(half + i * thresholds, thresholds)};
      const double w = weights.empty() ? 1 : weights[i];
      total += w * area(method, c);
      weight += w;
    }
    return Divide(total, weight);
  }
};

Result ResultOf(const v1::Auc& a, int64_t labels) {
  const Method method = a.summation_method() == "minoring"   ? Method::kMinoring
                        : a.summation_method() == "majoring" ? Method::kMajoring
                                                             : Method::kInterpolation;
  Result r{method,
           a.curve() == "PR"        ? &PrecisionRecall
           : a.curve() == "PR_GAIN" ? &PrecisionRecallGain
                                    : &Roc,
           static_cast<size_t>(labels),
           {}};
  if (a.multi_label()) r.weights.assign(a.label_weights().values().begin(), a.label_weights().values().end());
  return r;
}

CurveOptions OptionsOf(const v1::Auc& a, int64_t labels) {
  CurveOptions options{.even = a.thresholds().empty(), .labels = labels};
  if (options.even) {
    for (int64_t i = 0; i < a.num_thresholds(); ++i) options.thresholds.push_back(static_cast<double>(i));
    return options;
  }
  std::vector<double>& t = options.thresholds;
  t.push_back(-1e-7);
  t.insert(t.end(), a.thresholds().begin(), a.thresholds().end());
  std::sort(t.begin(), t.end());
  t.push_back(1 + 1e-7);
  return options;
}

// The weight of each element: its sample's times, where labels are not apart, its label's. Empty: one for all.
Value Weights(Scope& s, const v1::Auc& a, const Shape& shape, Value weight) {
  Value all;
  if (weight) {
    Value w = Cast(weight, DType::kF32);
    while (w.rank() < static_cast<int>(shape.size())) w = ExpandDims(w, -1);
    if (!BroadcastShape(w.shape(), shape).ok()) {
      return s.Fail(
          absl::StrCat("sample_weight: must fit ", ShapeString(shape), ", got ", ShapeString(weight.shape())));
    }
    all = Broadcast(w, shape);
  }
  if (a.has_label_weights() && !a.multi_label()) {
    const auto& values = a.label_weights().values();
    const Value w = Constant(
        s.graph(), Tensor::Of(DType::kF32, {values.size()}, std::vector<double>(values.begin(), values.end())));
    all = all ? all * w : Broadcast(w, shape);
  }
  return all;
}

bool CheckLabels(Scope& s, const v1::Auc& a, Value prediction) {
  if (!a.multi_label() && !a.has_label_weights()) return true;
  const Shape& shape = prediction.shape();
  if (shape.size() != 2) {
    s.Fail(absl::StrCat("multi_label|y_pred: needs predictions [N, labels], got ", ShapeString(shape)));
    return false;
  }
  if (a.has_num_labels() && a.num_labels() != shape[1]) {
    s.Fail(absl::StrCat("num_labels|y_pred: must be the number of columns, ", shape[1], ", got ", a.num_labels()));
    return false;
  }
  if (a.has_label_weights() && a.label_weights().values_size() != shape[1]) {
    s.Fail(absl::StrCat("label_weights: must have one weight for each of ", shape[1], " labels, got ",
                        a.label_weights().values_size()));
    return false;
  }
  return true;
}

MetricTerms Build(Scope& s, const v1::Auc& a, const MetricArgs& args) {
  const Value target = args.target, prediction = args.prediction;
  if (target.num_elements() != prediction.num_elements()) {
    s.Fail(absl::StrCat("target|y_true|y_pred: shapes must fit, got ", ShapeString(target.shape()), " and ",
                        ShapeString(prediction.shape())));
    return {};
  }
  if (!CheckLabels(s, a, prediction)) return {};
  const int64_t labels = a.multi_label() ? prediction.dim(1) : 1;
  const Value w = Weights(s, a, prediction.shape(), args.weight);
  if (!s.ok()) return {};
  const Value p = a.from_logits() ? Sigmoid(prediction) : prediction;
  return {CurveCounts(s.graph(), target, p, w, OptionsOf(a, labels)), ResultOf(a, labels)};
}

}  // namespace

std::vector<MetricComponent> AucMetrics() { return {Metric<v1::Auc>("auc", &Build)}; }

}  // namespace strata::nn
