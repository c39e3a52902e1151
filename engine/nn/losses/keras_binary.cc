// Keras' binary cross entropies: mean over one axis. Directly after a sigmoid the logits are used.
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/loss.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

constexpr double kEpsilon = 1e-7;

Value Smooth(Value t, double s) { return s == 0 ? t : t * (1 - s) + 0.5 * s; }

// max(z, 0) - z t + ln(1 + e^-|z|); the gradient at 0 is 1/2 - t.
Value FromLogits(Value z, Value t) {
  return Max(z, 0) - z * t + Log1p(Exp(Select(GreaterEqual(z, Like(z, 0)), -z, z)));
}

// Probabilities, clipped; another epsilon stands inside the logarithms.
Value FromProbabilities(Value p, Value t) {
  // 1 - 1e-7 as a float is what Keras clips to.
  p = Min(Max(p, kEpsilon), 1 - kEpsilon);
  return -(t * Log(p + kEpsilon) + (1 - t) * Log(1 - p + kEpsilon));
}

// Only logits must have the labels' shape; probabilities broadcast.
bool CheckShapes(Scope& s, const LossArgs& args, Value logits) {
  if (!CheckBroadcast(s, args)) return false;
  if (!logits || args.target.shape() == args.prediction.value.shape()) return true;
  s.Fail(absl::StrCat("y_true|y_pred|target: logits and labels must have one shape, got ",
                      ShapeString(args.prediction.value.shape()), " and ", ShapeString(args.target.shape())));
  return false;
}

LossTerms Build(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  const auto& a = loss.binary_crossentropy();
  const Value logits = LogitsOf(args.prediction, a.from_logits(), false);
  if (!CheckShapes(s, args, logits)) return {};
  const Value t = Smooth(LikePrediction(args), a.label_smoothing());
  Value values = logits ? FromLogits(logits, t) : FromProbabilities(args.prediction.value, t);
  if (values && values.rank() > 0) values = ReduceMean(values, {a.axis()});
  return {values, {}};
}

// alpha_t (1 - p_t)^gamma BCE
LossTerms BuildFocal(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  const auto& a = loss.binary_focal_crossentropy();
  const Value logits = LogitsOf(args.prediction, a.from_logits(), false);
  if (!CheckShapes(s, args, logits)) return {};
  const Value t = Smooth(LikePrediction(args), a.label_smoothing());
  const Value p = a.from_logits() ? Sigmoid(args.prediction.value) : args.prediction.value;
  const Value bce = logits ? FromLogits(logits, t) : FromProbabilities(p, t);
  const Value p_t = t * p + (1 - t) * (1 - p);
  Value values = Pow(1 - p_t, Like(p, a.gamma())) * bce;
  if (a.apply_class_balancing()) values = values * (t * a.alpha() + (1 - t) * (1 - a.alpha()));
  if (values && values.rank() > 0) values = ReduceMean(values, {a.axis()});
  return {values, {}};
}

}  // namespace

std::vector<LossComponent> KerasBinaryLosses() {
  return {
      {"binary_crossentropy", &Build, [](const v1::Loss& l) { return l.binary_crossentropy().reduction(); }},
      {"binary_focal_crossentropy", &BuildFocal,
       [](const v1::Loss& l) { return l.binary_focal_crossentropy().reduction(); }},
  };
}

}  // namespace strata::nn
