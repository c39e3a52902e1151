// Shares of right decisions. They are one file since "accuracy" is one of the others, by the shapes it meets.
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/class_indices.h"
#include "engine/nn/metrics/classes.h"
#include "engine/nn/metrics/mean.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Share of elements on the right side of the threshold, averaged over the last axis first.
MetricTerms Binary(Scope& s, double threshold, Value t, Value p, Value weight) {
  Squeeze(&t, &p);
  if (!CheckFit(s, t, p)) return {};
  const Value guess = AsFloat(Greater(p, Like(p, threshold)));
  if (s.pytorch()) return MeanOf(s, 1.0 - Abs(AsFloat(t) - guess), weight);
  const Value hit = AsFloat(Equal(AsFloat(t), guess));
  return MeanOf(s, hit.rank() > 1 ? ReduceMean(hit, {-1}) : hit, weight);
}

MetricTerms OneHotTargets(Scope& s, Value t, Value p, Value weight) {
  if (!CheckFit(s, t, p) || p.rank() < 1) return {};
  return MeanOf(s, AsFloat(Equal(ArgMax(t, -1), ArgMax(p, -1))), weight);
}

MetricTerms Sparse(Scope& s, Value t, Value p, Value weight) {
  if (t.rank() == p.rank() && t.dim(-1) == 1) t = strata::Squeeze(t, -1);
  const Value labels = Cast(t, DType::kI32), guess = ArgMax(p, -1);
  if (!CheckFit(s, labels, guess)) return {};
  return MeanOf(s, AsFloat(Equal(labels, guess)), weight);
}

// Scores [N, C, ...] of targets [N, ...], as PyTorch's cross entropy has them.
bool ClassesAreAxis1(Value t, Value p) {
  if (p.rank() < 3 || t.rank() != p.rank() - 1) return false;
  Shape rest = p.shape();
  rest.erase(rest.begin() + 1);
  return rest == t.shape();
}

// Keras resolves "accuracy" by shapes; PyTorch's users mean the largest score, or the threshold for one output.
MetricTerms ByShape(Scope& s, Value t, Value p, Value weight) {
  if (s.pytorch() && ClassesAreAxis1(t, p)) return Sparse(s, t, ClassesLast(p), weight);
  if (p.rank() <= 1 || p.dim(-1) == 1) return Binary(s, 0.5, t, p, weight);
  if (s.pytorch() && t.shape() == p.shape() && !IsFloat(t.dtype())) return Binary(s, 0.5, t, p, weight);
  if (t.rank() < p.rank() || t.dim(-1) == 1) return Sparse(s, t, p, weight);
  return OneHotTargets(s, t, p, weight);
}

MetricTerms BuildAccuracy(Scope& s, const v1::Accuracy& a, const MetricArgs& args) {
  const Value t = args.target, p = args.prediction;
  std::optional<int64_t> ignore;
  if (a.has_ignore_index()) ignore = a.ignore_index();
  const bool by_class = a.has_average() && a.average() != "micro";
  if (!by_class) return ByShape(s, t, p, ignore.has_value() ? Counted(s, t, args.weight, ignore) : args.weight);
  if (!a.has_num_classes()) {
    s.Fail(absl::StrCat("num_classes: must be set with average ", a.average(), ", got nothing"));
    return {};
  }
  return {IndexCounts(s, args, a.num_classes(), {.ignore_index = ignore}),
          [average = AverageOf(a.average())](std::span<const double> sums) {
            return AverageOver(ClassCounts::Of(sums), average, true,
                               [](const ClassCounts& c, size_t i) { return c.recall(i); });
          }};
}

MetricTerms BuildExact(Scope& s, const v1::ExactAccuracy&, const MetricArgs& args) {
  Value t = args.target, p = args.prediction;
  Squeeze(&t, &p);
  if (!CheckFit(s, t, p)) return {};
  return MeanOf(s, AsFloat(Equal(AsFloat(t), AsFloat(p))), args.weight);
}

MetricTerms BuildBinary(Scope& s, const v1::BinaryAccuracy& a, const MetricArgs& args) {
  return Binary(s, a.threshold(), args.target, args.prediction, args.weight);
}
MetricTerms BuildCategorical(Scope& s, const v1::CategoricalAccuracy&, const MetricArgs& args) {
  return OneHotTargets(s, args.target, args.prediction, args.weight);
}
MetricTerms BuildSparse(Scope& s, const v1::SparseCategoricalAccuracy&, const MetricArgs& args) {
  return Sparse(s, args.target, args.prediction, args.weight);
}

}  // namespace

std::vector<MetricComponent> AccuracyMetrics() {
  return {Metric<v1::Accuracy>("accuracy", &BuildAccuracy), Metric<v1::BinaryAccuracy>("binary_accuracy", &BuildBinary),
          Metric<v1::CategoricalAccuracy>("categorical_accuracy", &BuildCategorical),
          Metric<v1::ExactAccuracy>("exact_accuracy", &BuildExact),
          Metric<v1::SparseCategoricalAccuracy>("sparse_categorical_accuracy", &BuildSparse)};
}

}  // namespace strata::nn
