// PyTorch's binary cross entropies, and the focal loss.
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/loss.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

bool SameShape(Scope& s, const LossArgs& args) {
  if (!IsFloat(args.target.dtype())) {
    s.Fail(absl::StrCat("target: must be floating point, got ", DTypeName(args.target.dtype())));
    return false;
  }
  if (args.prediction.value.shape() == args.target.shape()) return true;
  s.Fail(absl::StrCat("target|input: shapes must be equal, got ", ShapeString(args.prediction.value.shape()), " and ",
                      ShapeString(args.target.shape())));
  return false;
}

// A constant factor, broadcast from the last axes of `like`.
template <typename ShapeList>
Value Factor(Scope& s, const char* name, const v1::Doubles& values, const ShapeList& shape, Value like) {
  Shape dims(shape.begin(), shape.end());
  if (dims.empty()) dims = {values.values_size()};
  const absl::StatusOr<Shape> joined = BroadcastShape(dims, like.shape());
  if (NumElements(dims) != values.values_size() || !joined.ok() || *joined != like.shape()) {
    return s.Fail(
        absl::StrCat(name, ": must fit ", ShapeString(like.shape()), ", got ", values.values_size(), " values"));
  }
  return Constant(s.graph(),
                  Tensor::Of(DType::kF32, dims, std::vector<double>(values.values().begin(), values.values().end())));
}

// -[t max(ln p, -100) + (1 - t) max(ln(1 - p), -100)]. The gradient is PyTorch's own formula,
// (p - t) / max(p (1 - p), 1e-12), which is bounded where the logarithms are clamped; that of the target is exact.
Value CrossEntropy(Value p, Value t) {
  const auto log = [](Value v) { return Max(Log(v), -100.0); };
  const Value exact = Detach(-(t * log(p) + (1 - t) * log(1 - p)));
  const Value slope = Detach((p - t) / Max((1 - p) * p, 1e-12));
  const Value target_slope = Detach(log(1 - p) - log(p));
  return exact + (slope * (p - Detach(p)) + target_slope * (t - Detach(t)));
}

LossTerms BuildProbabilities(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  if (!SameShape(s, args)) return {};
  const auto& a = loss.binary_cross_entropy_probabilities();
  const Value p = args.prediction.value, t = LikePrediction(args);
  // A NaN passes: what becomes of a step that is not finite is the configuration's to say.
  const auto probabilities = [](Value v) { return Not(Or(Less(v, Like(v, 0)), Greater(v, Like(v, 1)))); };
  s.Require(probabilities(p), "input: must be in [0, 1]");
  s.Require(probabilities(t), "target: must be in [0, 1]");
  Value values = CrossEntropy(p, t);
  if (a.has_weight()) values = values * Factor(s, "weight", a.weight(), a.weight_shape(), values);
  return {values, {}};
}

// (1 - t) z + l (ln(1 + e^-|z|) + max(-z, 0)), l = 1 + (pos_weight - 1) t
LossTerms BuildLogits(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  if (!SameShape(s, args)) return {};
  const auto& a = loss.binary_cross_entropy_logits();
  const Value z = args.prediction.value, t = LikePrediction(args);
  const Value tail = Softplus(-z);
  Value values;
  if (a.has_pos_weight()) {
    const Value l = (Factor(s, "pos_weight", a.pos_weight(), a.pos_weight_shape(), z) - 1) * t + 1;
    values = (1 - t) * z + l * tail;
  } else {
    values = (1 - t) * z + tail;
  }
  if (a.has_weight()) values = values * Factor(s, "weight", a.weight(), a.weight_shape(), values);
  return {values, {}};
}

// alpha_t (1 - p_t)^gamma BCE. Keras' rows sum over the last axis.
LossTerms BuildFocal(Scope& s, const v1::Loss& loss, const LossArgs& args) {
  if (!CheckBroadcast(s, args)) return {};
  const auto& a = loss.focal();
  const Value p = args.prediction.value, t = LikePrediction(args);
  const Value p_t = t * p + (1 - t) * (1 - p);
  const Value alpha = t * a.alpha() + (1 - t) * (1 - a.alpha());
  Value bce;
  if (s.pytorch()) {
    bce = CrossEntropy(p, t);
  } else {
    const Value q = Min(Max(p, 1e-7), 1 - 1e-7);
    bce = -(t * Log(q + 1e-7) + (1 - t) * Log(1 - q + 1e-7));
  }
  Value values = alpha * Pow(1 - p_t, Like(p, a.gamma())) * bce;
  if (!s.pytorch() && values.rank() > 0) values = ReduceSum(values, {-1});
  return {values, {}};
}

}  // namespace

std::vector<LossComponent> PytorchBinaryLosses() {
  return {
      {"binary_cross_entropy_probabilities", &BuildProbabilities,
       [](const v1::Loss& l) { return l.binary_cross_entropy_probabilities().reduction(); }},
      {"binary_cross_entropy_logits", &BuildLogits,
       [](const v1::Loss& l) { return l.binary_cross_entropy_logits().reduction(); }},
      {"focal", &BuildFocal, [](const v1::Loss& l) { return l.focal().reduction(); }},
  };
}

}  // namespace strata::nn
