// Losses of a difference d = prediction - target: one body and a line for each, so they stand together. PyTorch: one
// value per element; Keras: the mean over the last axis.
#include <cmath>

#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

LossTerms Rows(Scope& s, Value values) { return s.pytorch() ? LossTerms{values, {}} : MeanOverLastAxis(values); }

template <typename F>
LossTerms OfDifference(Scope& s, const LossArgs& args, F f) {
  if (!CheckBroadcast(s, args)) return {};
  return Rows(s, f(args.prediction.value - LikePrediction(args)));
}

LossTerms BuildMse(Scope& s, const v1::MeanSquaredError&, const LossArgs& args) {
  return OfDifference(s, args, [](Value d) { return Square(d); });
}

LossTerms BuildMae(Scope& s, const v1::MeanAbsoluteError&, const LossArgs& args) {
  return OfDifference(s, args, [](Value d) { return Abs(d); });
}

// d^2 / (2 beta) where |d| < beta, |d| - beta / 2 elsewhere; beta = 0 is the absolute value.
LossTerms BuildSmoothL1(Scope& s, const v1::SmoothL1& a, const LossArgs& args) {
  const double beta = a.beta();
  return OfDifference(s, args, [&](Value d) {
    const Value size = Abs(d);
    if (beta == 0) return size;
    return Select(Less(size, Like(d, beta)), Square(d) * (0.5 / beta), size - 0.5 * beta);
  });
}

// d^2 / 2 where |d| <= delta, delta (|d| - delta / 2) elsewhere.
LossTerms BuildHuber(Scope& s, const v1::Huber& a, const LossArgs& args) {
  const double delta = a.delta();
  return OfDifference(s, args, [&](Value d) {
    const Value size = Abs(d);
    return Select(LessEqual(size, Like(d, delta)), Square(d) * 0.5, (size - 0.5 * delta) * delta);
  });
}

// ln cosh d = d + ln(1 + e^(-2 d)) - ln 2
LossTerms BuildLogCosh(Scope& s, const v1::LogCosh&, const LossArgs& args) {
  return OfDifference(s, args, [](Value d) { return d + Softplus(d * -2) - std::log(2.0); });
}

}  // namespace

LossComponents DifferenceLosses() {
  return {Loss<v1::MeanSquaredError>("mean_squared_error", &BuildMse).Takes(kNumbersAsFloats),
          Loss<v1::MeanAbsoluteError>("mean_absolute_error", &BuildMae).Takes(kNumbersAsFloats),
          Loss<v1::SmoothL1>("smooth_l1", &BuildSmoothL1).Takes(kNumbersAsFloats),
          Loss<v1::Huber>("huber", &BuildHuber), Loss<v1::LogCosh>("log_cosh", &BuildLogCosh)};
}

}  // namespace strata::nn
