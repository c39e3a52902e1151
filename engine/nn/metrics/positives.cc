#include "engine/nn/metrics/positives.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/nn/metrics/mean.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

// Whether each score is among the k largest of its row; of equal ones the first are.
Value AmongLargest(Value p, int64_t k) {
  Value found;
  for (int64_t i = 0; i < k; ++i) {
    const Value next = OneHot(ArgMax(p, -1), p.dim(-1), DType::kBool);
    found = found ? Or(found, next) : next;
    p = Select(next, Like(p, -std::numeric_limits<double>::infinity()), p);
  }
  return found;
}

}  // namespace

bool TakeLabel(Scope& s, std::optional<int64_t> class_id, Value* t, Value* p) {
  if (!class_id.has_value()) return true;
  for (Value* v : {t, p}) {
    if (v->rank() < 1 || *class_id >= v->dim(-1)) {
      s.Fail(
          absl::StrCat("class_id: must name one of the last axis of ", ShapeString(v->shape()), ", got ", *class_id));
      return false;
    }
    *v = strata::Squeeze(SliceAxis(*v, -1, *class_id, 1), -1);
  }
  return true;
}

Positives PositivesOf(Scope& s, const MetricArgs& args, const PositiveOptions& options) {
  Value t = args.target, p = args.prediction;
  Squeeze(&t, &p);
  if (!CheckFit(s, t, p)) return {};
  Value guess;
  if (options.top_k.has_value()) {
    if (p.rank() < 1 || *options.top_k > p.dim(-1)) {
      s.Fail(absl::StrCat("top_k: must be at most the size of the last axis of ", ShapeString(p.shape()), ", got ",
                          *options.top_k));
      return {};
    }
    guess = AmongLargest(p, *options.top_k);
  }
  if (options.threshold.has_value() || !guess) {
    const Value above = Greater(p, Like(p, options.threshold.value_or(0.5)));
    guess = guess ? And(guess, above) : above;
  }
  guess = AsFloat(guess);
  Value truth = AsFloat(Not(Equal(AsFloat(t), Like(AsFloat(t), 0))));
  if (!TakeLabel(s, options.class_id, &truth, &guess)) return {};
  const Shape shape = BroadcastShape(truth.shape(), guess.shape()).value();
  const Value weight = SpreadWeight(s, args.weight, shape);
  if (!s.ok()) return {};
  return {Broadcast(truth, shape), Broadcast(guess, shape), weight};
}

std::vector<Value> CurveCounts(Graph* g, Value target, Value prediction, Value weight, const CurveOptions& options) {
  const int64_t n = static_cast<int64_t>(options.thresholds.size());
  std::vector<double> numbers = options.thresholds;
  for (size_t i = 0; i < numbers.size() && options.even; ++i) {
    numbers[i] = i == 0 && options.zero_counts ? -1 : static_cast<double>(i);
  }
  const Value thresholds = Constant(g, Tensor::Of(DType::kF32, {1, 1, n}, numbers));
  // [N, labels, thresholds], where elements without labels of their own are all samples.
  const auto spread = [&](Value v) { return Reshape(AsFloat(v), {-1, options.labels, 1}); };
  const Value t = spread(target), p = spread(prediction) * (options.even ? static_cast<double>(n - 1) : 1.0);
  const Value above = AsFloat(Greater(p, thresholds));
  const Value w = weight ? spread(weight) : Value{};
  const Value positive = w ? t * w : t, negative = w ? (1.0 - t) * w : 1.0 - t;
  return {ReduceSum(above * positive, {0}), ReduceSum(above * negative, {0})};
}

}  // namespace strata::nn
