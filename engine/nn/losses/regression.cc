// Losses of a difference d = prediction - target. PyTorch: one value per element; Keras: the mean over the last axis.
#include <cmath>

#include "engine/nn/losses/loss.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

LossTerms Finish(Scope& s, Value values) {
  if (!s.pytorch() && values && values.rank() > 0) values = ReduceMean(values, {-1});
  return {values, {}};
}

template <typename F>
LossTerms OfDifference(Scope& s, const LossArgs& args, F f) {
  if (!CheckBroadcast(s, args)) return {};
  return Finish(s, f(args.prediction.value - LikePrediction(args)));
}

LossTerms BuildMse(Scope& s, const v1::Loss&, const LossArgs& args) {
  return OfDifference(s, args, [](Value d) { return Square(d); });
}

LossTerms BuildMae(Scope& s, const v1::Loss&, const LossArgs& args) {
  return OfDifference(s, args, [](Value d) { return Abs(d); });
}

// d^2 / (2 beta) where |d| < beta, |d| - beta / 2 elsewhere; beta = 0 is the absolute value.
LossTerms BuildSmoothL1(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  const double beta = loss.smooth_l1().beta();
  return OfDifference(s, args, [&](Value d) {
    const Value size = Abs(d);
    if (beta == 0) return size;
    return Select(Less(size, Like(d, beta)), Square(d) * (0.5 / beta), size - 0.5 * beta);
  });
}

// d^2 / 2 where |d| <= delta, delta (|d| - delta / 2) elsewhere.
LossTerms BuildHuber(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  const double delta = loss.huber().delta();
  return OfDifference(s, args, [&](Value d) {
    const Value size = Abs(d);
    return Select(LessEqual(size, Like(d, delta)), Square(d) * 0.5, (size - 0.5 * delta) * delta);
  });
}

// (ln(max(p, 1e-7) + 1) - ln(max(t, 1e-7) + 1))^2
LossTerms BuildMsle(Scope& s, const v1::Loss&, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const auto log1 = [](Value v) { return Log(Max(v, 1e-7) + 1); };
  return Finish(s, Square(log1(args.prediction.value) - log1(LikePrediction(args))));
}

// ln cosh d = d + ln(1 + e^(-2 d)) - ln 2
LossTerms BuildLogCosh(Scope& s, const v1::Loss&, const LossArgs& args) {
  return OfDifference(s, args, [](Value d) { return d + Softplus(d * -2) - std::log(2.0); });
}

}  // namespace

std::vector<LossComponent> RegressionLosses() {
  return {
      {"mean_squared_error", &BuildMse, [](const v1::Loss& l) { return l.mean_squared_error().reduction(); }},
      {"mean_absolute_error", &BuildMae, [](const v1::Loss& l) { return l.mean_absolute_error().reduction(); }},
      {"smooth_l1", &BuildSmoothL1, [](const v1::Loss& l) { return l.smooth_l1().reduction(); }},
      {"huber", &BuildHuber, [](const v1::Loss& l) { return l.huber().reduction(); }},
      {"mean_squared_logarithmic_error", &BuildMsle,
       [](const v1::Loss& l) { return l.mean_squared_logarithmic_error().reduction(); }},
      {"log_cosh", &BuildLogCosh, [](const v1::Loss& l) { return l.log_cosh().reduction(); }},
  };
}

}  // namespace strata::nn
