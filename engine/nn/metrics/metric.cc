#include "engine/nn/metrics/metric.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/custom/custom.h"
#include "engine/nn/losses/loss.h"
#include "engine/nn/schema.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

double Ratio(std::span<const double> sums) { return sums[1] == 0 ? 0 : sums[0] / sums[1]; }
double RootOfRatio(std::span<const double> sums) { return std::sqrt(Ratio(sums)); }

// The weighted mean of `values`, whose first axis is the batch.
MetricTerms MeanOf(Scope& s, Value values, Value weight) {
  if (!values) return {};
  if (!weight) return {{SumAll(values), Scalar(s.graph(), static_cast<double>(values.num_elements()))}, &Ratio};
  Value w = Cast(weight, values.dtype());
  if (w.rank() == values.rank() + 1 && w.dim(-1) == 1) w = strata::Squeeze(w, -1);
  while (w.rank() < values.rank()) w = ExpandDims(w, -1);
  if (!BroadcastShape(w.shape(), values.shape()).ok()) {
    s.Fail(absl::StrCat("sample_weight: must fit values of ", ShapeString(values.shape()), ", got ",
                        ShapeString(weight.shape())));
    return {};
  }
  w = Broadcast(w, values.shape());
  return {{SumAll(values * w), SumAll(w)}, &Ratio};
}

Value AsFloat(Value v) { return Cast(v, DType::kF32); }

bool CheckSameSize(Scope& s, Value t, Value p) {
  if (BroadcastShape(t.shape(), p.shape()).ok()) return true;
  s.Fail(absl::StrCat("target|y_true|y_pred: shapes must fit, got ", ShapeString(t.shape()), " and ",
                      ShapeString(p.shape())));
  return false;
}

// Lines up (N,) with (N, 1).
void Squeeze(Value* t, Value* p) {
  if (p->rank() == t->rank() + 1 && p->dim(-1) == 1) *p = strata::Squeeze(*p, -1);
  if (t->rank() == p->rank() + 1 && t->dim(-1) == 1) *t = strata::Squeeze(*t, -1);
}

// Share of elements on the right side of the threshold, averaged over the last axis first.
MetricTerms Binary(Scope& s, double threshold, Value t, Value p, Value weight) {
  Squeeze(&t, &p);
  if (!CheckSameSize(s, t, p)) return {};
  const Value guess = AsFloat(Greater(p, Like(p, threshold)));
  if (s.pytorch()) return MeanOf(s, 1.0 - Abs(AsFloat(t) - guess), weight);
  const Value hit = AsFloat(Equal(AsFloat(t), guess));
  return MeanOf(s, hit.rank() > 1 ? ReduceMean(hit, {-1}) : hit, weight);
}

MetricTerms Categorical(Scope& s, Value t, Value p, Value weight) {
  if (!CheckSameSize(s, t, p) || p.rank() < 1) return {};
  return MeanOf(s, AsFloat(Equal(ArgMax(t, -1), ArgMax(p, -1))), weight);
}

Value Labels(Value t, Value p) {
  if (t.rank() == p.rank() && t.dim(-1) == 1) t = strata::Squeeze(t, -1);
  return Cast(t, DType::kI32);
}

MetricTerms Sparse(Scope& s, Value t, Value p, Value weight) {
  const Value labels = Labels(t, p), guess = ArgMax(p, -1);
  if (!CheckSameSize(s, labels, guess)) return {};
  return MeanOf(s, AsFloat(Equal(labels, guess)), weight);
}

// The target is among the k largest scores: fewer than k scores are larger than its own.
MetricTerms TopK(Scope& s, int64_t k, Value t, Value p, Value weight) {
  if (!CheckSameSize(s, t, p)) return {};
  const Value own = ExpandDims(PickLast(p, ArgMax(t, -1)), -1);
  const Value larger = ReduceSum(AsFloat(Greater(p, own)), {-1});
  return MeanOf(s, AsFloat(Less(larger, Like(larger, static_cast<double>(k)))), weight);
}

// True positives over positives of one of the two sides.
MetricTerms Positives(Scope& s, double threshold, Value t, Value p, Value weight, bool of_predictions) {
  Squeeze(&t, &p);
  if (!CheckSameSize(s, t, p)) return {};
  Value truth = AsFloat(Not(Equal(AsFloat(t), Like(AsFloat(t), 0))));
  Value guess = AsFloat(Greater(p, Like(p, threshold)));
  Value both = truth * guess, side = of_predictions ? guess : truth;
  if (weight) {
    Value w = AsFloat(weight);
    while (w.rank() < both.rank()) w = ExpandDims(w, -1);
    both = both * w;
    side = side * w;
  }
  return {{SumAll(both), SumAll(side)}, &Ratio};
}

// Keras' cosine: each vector over its length, at least 1e-6.
MetricTerms Cosine(Scope& s, int64_t axis, Value t, Value p, Value weight) {
  Squeeze(&t, &p);
  if (!CheckSameSize(s, t, p)) return {};
  if (axis < -p.rank() || axis >= p.rank()) {
    s.Fail(absl::StrCat("axis: must name one of ", p.rank(), " axes, got ", axis));
    return {};
  }
  const auto unit = [axis](Value v) { return v / Sqrt(Max(ReduceSum(Square(v), {axis}, true), 1e-12)); };
  return MeanOf(s, ReduceSum(unit(Cast(t, p.dtype())) * unit(p), {axis}), weight);
}

// The weighted mean of squares over all elements, under a root.
MetricTerms RootMeanSquared(Scope& s, Value t, Value p, Value weight) {
  Squeeze(&t, &p);
  if (!CheckSameSize(s, t, p)) return {};
  MetricTerms terms = MeanOf(s, Square(p - Cast(t, p.dtype())), weight);
  terms.result = &RootOfRatio;
  return terms;
}

template <typename F>
MetricTerms Error(Scope& s, Value t, Value p, Value weight, F f) {
  Squeeze(&t, &p);
  if (!CheckSameSize(s, t, p)) return {};
  const Value values = f(p - Cast(t, p.dtype()));
  return MeanOf(s, values.rank() > 1 ? ReduceMean(values, {-1}) : values, weight);
}

// Scores [N, C, ...] of targets [N, ...], as PyTorch's cross entropy has them.
bool ClassesAreAxis1(Value t, Value p) {
  if (p.rank() < 3 || t.rank() != p.rank() - 1) return false;
  Shape rest = p.shape();
  rest.erase(rest.begin() + 1);
  return rest == t.shape();
}

Value ToLastAxis(Value p) {
  std::vector<int64_t> order{0};
  for (int64_t d = 2; d < p.rank(); ++d) order.push_back(d);
  order.push_back(1);
  return Transpose(p, order);
}

// Keras resolves "accuracy" by shapes; PyTorch's users mean the largest score, or the threshold for one output.
MetricTerms Accuracy(Scope& s, Value t, Value p, Value weight) {
  if (s.pytorch() && ClassesAreAxis1(t, p)) return Sparse(s, t, ToLastAxis(p), weight);
  if (p.rank() <= 1 || p.dim(-1) == 1) return Binary(s, 0.5, t, p, weight);
  if (s.pytorch() && t.shape() == p.shape() && !IsFloat(t.dtype())) return Binary(s, 0.5, t, p, weight);
  if (t.rank() < p.rank() || t.dim(-1) == 1) return Sparse(s, t, p, weight);
  return Categorical(s, t, p, weight);
}

// The mean of the values, or the quotient of two sums.
MetricTerms Custom(Scope& s, const v1::CustomMetric& use, Value t, Value p, Value weight) {
  const v1::CustomComponent& d = use.definition();
  Scope named = s.Enter(d.name(), d.name(), true, std::nullopt);
  std::vector<Value> values = BuildCustomValues(named, d, use.hyperparameters(), t, p, {});
  if (!s.ok() || values.empty()) return {};
  if (values.size() > 2) {
    named.Fail(absl::StrCat("body: a METRIC must have one result or two, got ", values.size()));
    return {};
  }
  std::vector<Value> sums;
  for (const Value v : values) {
    const MetricTerms mean = MeanOf(named, AsFloat(v), v.rank() > 0 ? weight : Value{});
    if (!s.ok()) return {};
    if (values.size() == 1) return mean;
    sums.push_back(mean.sums[0]);
  }
  return {std::move(sums), &Ratio};
}

// The mean of a loss' values, one for each sample or each place of it.
MetricTerms OfLoss(Scope& s, const v1::Loss& loss, Value t, const Annotated& prediction, Value weight) {
  LossArgs args{.prediction = prediction, .target = t};
  args.prediction.mask = {};
  Squeeze(&args.target, &args.prediction.value);
  if (prediction.value != args.prediction.value) args.prediction = args.prediction.value;
  v1::Loss function = loss;
  function.set_function_form(true);
  return MeanOf(s, BuildLoss(s, function, args), weight);
}

}  // namespace

MetricTerms BuildMetric(Scope& s, const v1::Metric& m, Value t, const Annotated& prediction, Value weight) {
  Value p = prediction;
  if (!s.ok() || !t || !p) return {};
  switch (m.kind_case()) {
    case v1::Metric::kAccuracy:
      return Accuracy(s, t, p, weight);
    case v1::Metric::kBinaryAccuracy:
      return Binary(s, m.binary_accuracy().threshold(), t, p, weight);
    case v1::Metric::kCategoricalAccuracy:
      return Categorical(s, t, p, weight);
    case v1::Metric::kSparseCategoricalAccuracy:
      return Sparse(s, t, p, weight);
    case v1::Metric::kTopKCategoricalAccuracy:
      return TopK(s, m.top_k_categorical_accuracy().k(), t, p, weight);
    case v1::Metric::kPrecision:
      return Positives(s, m.precision().threshold(), t, p, weight, true);
    case v1::Metric::kRecall:
      return Positives(s, m.recall().threshold(), t, p, weight, false);
    case v1::Metric::kAuc:
      return BuildAuc(s, m.auc(), t, p, weight);
    case v1::Metric::kMeanSquaredError:
      return Error(s, t, p, weight, [](Value d) { return Square(d); });
    case v1::Metric::kMeanAbsoluteError:
      return Error(s, t, p, weight, [](Value d) { return Abs(d); });
    case v1::Metric::kRootMeanSquaredError:
      return RootMeanSquared(s, t, p, weight);
    case v1::Metric::kCosineSimilarity:
      return Cosine(s, m.cosine_similarity().axis(), t, p, weight);
    case v1::Metric::kLoss:
      return OfLoss(s, m.loss(), t, prediction, weight);
    case v1::Metric::kCustom:
      return Custom(s, m.custom(), t, p, weight);
    case v1::Metric::kExactAccuracy:
      Squeeze(&t, &p);
      if (!CheckSameSize(s, t, p)) return {};
      return MeanOf(s, AsFloat(Equal(AsFloat(t), AsFloat(p))), weight);
    case v1::Metric::KIND_NOT_SET:
      break;
  }
  s.Fail("metric.kind: must be set, got none");
  return {};
}

std::string MetricName(const v1::Metric& m) {
  if (!m.name().empty()) return m.name();
  const auto* kind = KindOf(m);
  if (m.has_custom()) return m.custom().definition().name();
  if (m.has_loss()) kind = KindOf(m.loss());
  return kind == nullptr ? "metric" : kind->name();
}

}  // namespace strata::nn
