// Keras' hinge family, divergences and similarity. One value per sample, over the last axis.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/losses/loss.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

LossTerms OverLastAxis(Value values) { return {values && values.rank() > 0 ? ReduceMean(values, {-1}) : values, {}}; }

// 100 |t - p| / max(|t|, 1e-7)
LossTerms BuildMape(Scope& s, const v1::Loss&, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const Value t = LikePrediction(args);
  return OverLastAxis(Abs((t - args.prediction.value) / Max(Abs(t), 1e-7)) * 100);
}

// Labels of 0 and 1 become -1 and 1, if there are no others.
Value Signed(Value t) {
  const Value zero = Like(t, 0), one = Like(t, 1);
  const Value binary = Or(Equal(t, zero), Equal(t, one));
  const Value all = ReduceMin(Cast(binary, t.dtype()), AllAxes(t));
  return Select(Greater(all, zero), t * 2 - 1, t);
}

Value HingeTerms(const LossArgs& args) {
  const Value margin = 1 - Signed(LikePrediction(args)) * args.prediction.value;
  return Max(margin, 0);
}

LossTerms BuildHinge(Scope& s, const v1::Loss&, const LossArgs& args) {
  return CheckBroadcast(s, args) ? OverLastAxis(HingeTerms(args)) : LossTerms{};
}

LossTerms BuildSquaredHinge(Scope& s, const v1::Loss&, const LossArgs& args) {
  return CheckBroadcast(s, args) ? OverLastAxis(Square(HingeTerms(args))) : LossTerms{};
}

// max(largest score of a wrong class - score of the right one + 1, 0)
LossTerms BuildCategoricalHinge(Scope& s, const v1::Loss&, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const Value t = LikePrediction(args), p = args.prediction;
  const Value right = ReduceSum(t * p, {-1}), wrong = ReduceMax((1 - t) * p, {-1});
  return {Max(wrong - right + 1, 0), {}};
}

// sum t ln(t / p), both clipped to [1e-7, 1]
LossTerms BuildKl(Scope& s, const v1::Loss&, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const auto clip = [](Value v) { return Min(Max(v, 1e-7), 1.0); };
  const Value t = clip(LikePrediction(args)), p = clip(args.prediction);
  return {ReduceSum(t * Log(t / p), {-1}), {}};
}

LossTerms BuildPoisson(Scope& s, const v1::Loss&, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const Value p = args.prediction;
  return OverLastAxis(p - LikePrediction(args) * Log(p + 1e-7));
}

LossTerms BuildCosine(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const Value p = args.prediction;
  const int64_t axis = loss.cosine_similarity().axis();
  if (axis >= p.rank() || axis < -p.rank()) {
    s.Fail(absl::StrCat("axis: must name an axis of ", ShapeString(p.shape()), ", got ", axis));
    return {};
  }
  const auto unit = [&](Value v) { return v / Sqrt(Max(ReduceSum(Square(v), {axis}, true), 1e-12)); };
  return {-ReduceSum(unit(LikePrediction(args)) * unit(p), {axis}), {}};
}

}  // namespace

std::vector<LossComponent> KerasMoreLosses() {
  return {
      {"mean_absolute_percentage_error", &BuildMape,
       [](const v1::Loss& l) { return l.mean_absolute_percentage_error().reduction(); }},
      {"hinge", &BuildHinge, [](const v1::Loss& l) { return l.hinge().reduction(); }},
      {"squared_hinge", &BuildSquaredHinge, [](const v1::Loss& l) { return l.squared_hinge().reduction(); }},
      {"categorical_hinge", &BuildCategoricalHinge,
       [](const v1::Loss& l) { return l.categorical_hinge().reduction(); }},
      {"kl_divergence", &BuildKl, [](const v1::Loss& l) { return l.kl_divergence().reduction(); }},
      {"poisson", &BuildPoisson, [](const v1::Loss& l) { return l.poisson().reduction(); }},
      {"cosine_similarity", &BuildCosine, [](const v1::Loss& l) { return l.cosine_similarity().reduction(); }},
  };
}

}  // namespace strata::nn
