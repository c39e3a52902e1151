#include "engine/nn/metrics/classes.h"

#include "absl/strings/str_cat.h"
#include "engine/nn/losses/class_indices.h"
#include "engine/nn/metrics/mean.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {

ClassCounts ClassCounts::Of(std::span<const double> sums) {
  const size_t n = sums.size() / 3;
  return {sums.subspan(0, n), sums.subspan(n, n), sums.subspan(2 * n, n)};
}
double ClassCounts::precision(size_t i) const { return Divide(right[i], predicted[i]); }
double ClassCounts::recall(size_t i) const { return Divide(right[i], actual[i]); }

Average AverageOf(const std::string& text) {
  return text == "micro" ? Average::kMicro : text == "weighted" ? Average::kWeighted : Average::kMacro;
}

double AverageOver(const ClassCounts& c, Average average, bool skip_absent,
                   const std::function<double(const ClassCounts&, size_t)>& score) {
  if (average == Average::kMicro) {
    double all[3] = {0, 0, 0};
    for (size_t i = 0; i < c.size(); ++i) {
      all[0] += c.right[i];
      all[1] += c.predicted[i];
      all[2] += c.actual[i];
    }
    return score(ClassCounts::Of(all), 0);
  }
  double sum = 0, weights = 0;
  for (size_t i = 0; i < c.size(); ++i) {
    const bool absent = c.predicted[i] == 0 && c.actual[i] == 0;
    const double w = average == Average::kWeighted ? c.actual[i] : skip_absent && absent ? 0 : 1;
    sum += w * score(c, i);
    weights += w;
  }
  return Divide(sum, weights);
}

Value Counted(Scope& s, Value target, Value weight, std::optional<int64_t> ignore_index) {
  const Value w = SpreadWeight(s, weight, target.shape());
  if (!s.ok() || !ignore_index.has_value()) return w;
  return w * AsFloat(Not(Equal(target, Like(target, static_cast<double>(*ignore_index)))));
}

std::vector<Value> CountsOf(Value truth, Value guess, Value weight) {
  const auto sum = [&](Value v) { return ReduceSum(v * weight, {0}); };
  return {sum(truth * guess), sum(guess), sum(truth)};
}

std::vector<Value> LabelCounts(Scope& s, const MetricArgs& args, const CountOptions& options) {
  Value t = args.target, p = args.prediction;
  Squeeze(&t, &p);
  if (!CheckFit(s, t, p)) return {};
  const Shape shape = BroadcastShape(t.shape(), p.shape()).value();
  t = Broadcast(t, shape);
  const Value w = Counted(s, t, args.weight, options.ignore_index);
  if (!s.ok()) return {};
  const auto flat = [&](Value v) { return Reshape(Broadcast(v, shape), {-1, 1}); };
  const Value truth = AsFloat(Not(Equal(AsFloat(t), Like(AsFloat(t), 0))));
  return CountsOf(flat(truth), flat(AsFloat(Greater(p, Like(p, options.threshold)))), flat(w));
}

std::vector<Value> IndexCounts(Scope& s, const MetricArgs& args, int64_t num_classes, const CountOptions& options) {
  Value t = args.target, p = args.prediction;
  if (p.rank() == t.rank() + 1 && p.rank() > 1) {
    if (p.dim(1) != num_classes) {
      s.Fail(absl::StrCat("num_classes|input: must be the size of axis 1, ", p.dim(1), ", got ", num_classes));
      return {};
    }
    p = ArgMax(ClassesLast(p), -1);
  }
  if (p.shape() != t.shape()) {
    s.Fail(absl::StrCat("target|input: must be class indices and scores [N, C, ...], got ", ShapeString(t.shape()),
                        " and ", ShapeString(args.prediction.value.shape())));
    return {};
  }
  const Value w = Counted(s, t, args.weight, options.ignore_index);
  if (!s.ok()) return {};
  const auto classes = [&](Value v) { return OneHot(Reshape(Cast(v, DType::kI64), {-1}), num_classes, DType::kF32); };
  return CountsOf(classes(t), classes(p), Reshape(w, {-1, 1}));
}

}  // namespace strata::nn
