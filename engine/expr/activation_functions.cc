// Activations of both frameworks, by the names and with the defaults that they have there.
#include <algorithm>
#include <cmath>

#include "engine/base/status.h"
#include "engine/expr/functions.h"
#include "engine/ops/ops.h"

namespace strata::expr {
namespace {

using Result = absl::StatusOr<Object>;

constexpr double kSeluAlpha = 1.6732632423543772848170429916717, kSeluScale = 1.0507009873554804934193349852946;

Value Above(Value x, double bound) { return Greater(x, Like(x, bound)); }
Value Clip(Value x, double low, double high) { return Min(Max(x, low), high); }
// The same, without a gradient at the bounds.
Value ClipStrictly(Value x, double low, double high) {
  return Select(Above(x, low), Select(Less(x, Like(x, high)), x, Like(x, high)), Like(x, low));
}
Value EluOf(Value x, double alpha) { return Select(Above(x, 0), x, Expm1(Min(x, 0)) * alpha); }

// Text arguments that mean no: gelu(x, approximate='none').
absl::StatusOr<bool> Approximates(const Call& c) {
  if (c.has(1) && c.argument(1)->text() != nullptr) return *c.argument(1)->text() == "tanh";
  return c.Flag(1);
}

Result CallGelu(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const bool approximate, Approximates(c));
  if (approximate) return Object(x * Sigmoid((x + Square(x) * x * 0.044715) * std::sqrt(8 / M_PI)));
  return Object(x * 0.5 * (Erf(x * M_SQRT1_2) + 1));
}

// The slope has the dialect's default.
Result CallLeakyRelu(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const double slope, c.Real(1, c.evaluator().pytorch() ? 0.01 : 0.2));
  return Object(Select(Above(x, 0), x, x * slope));
}

Result CallElu(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const double alpha, c.Real(1, 1));
  return Object(EluOf(x, alpha));
}

Result CallCelu(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const double alpha, c.Real(1, 1));
  if (alpha == 0) return c.Error("alpha must not be 0");
  return Object(Select(Above(x, 0), x, Expm1(Min(x, 0) / alpha) * alpha));
}

Result CallSelu(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  // At 0 TensorFlow's slope is that of the right side.
  const Value right = c.evaluator().pytorch() ? Above(x, 0) : GreaterEqual(x, Like(x, 0));
  return Object(Select(right, x, Expm1(Min(x, 0)) * kSeluAlpha) * kSeluScale);
}

// relu(x, alpha, max_value, threshold): Keras' whole form. Integers stay integers where only x is given.
Result CallRelu(const Call& c) {
  if (const Number* n = c.argument(0)->number(); n != nullptr && c.numbers() && !c.has(1) && !c.has(2) && !c.has(3)) {
    return Object(c.evaluator().Use(*n).AsDouble() > 0 ? *n : Number{n->kind});
  }
  STRATA_ASSIGN_OR_RETURN(Value x, c.Tensor(0));
  if (x.dtype() == DType::kBool) x = Cast(x, DType::kI64);
  if (!c.has(1) && !c.has(2) && !c.has(3)) return Object(Relu(x));
  STRATA_ASSIGN_OR_RETURN(x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const double alpha, c.Real(1, 0));
  STRATA_ASSIGN_OR_RETURN(const double threshold, c.Real(3, 0));
  Value above = x;
  if (c.has(2)) {
    STRATA_ASSIGN_OR_RETURN(const double most, c.Real(2));
    above = Min(x, most);
  }
  const Value below = alpha == 0 ? Like(x, 0) : (x - threshold) * alpha;
  return Object(Select(Above(x, threshold), above, below));
}

Result CallRelu6(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  return Object(ClipStrictly(x, 0, 6));
}

// Keras 2's: clip(0.2 x + 0.5, 0, 1).
Result CallHardSigmoid(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  return Object(Clip(x * 0.2 + 0.5, 0, 1));
}
// PyTorch's: relu6(x + 3) / 6.
Value Ramp(Value x) { return ClipStrictly(x + 3, 0, 6) / 6; }
Result CallHardsigmoid(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  return Object(Ramp(x));
}
Result CallHardswish(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  return Object(x * Ramp(x));
}

Result CallHardtanh(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const double low, c.Real(1, -1));
  STRATA_ASSIGN_OR_RETURN(const double high, c.Real(2, 1));
  return Object(ClipStrictly(x, low, high));
}

Result CallSoftplus(const Call& c) {
  if (c.numbers()) {
    STRATA_ASSIGN_OR_RETURN(const double x, c.Real(0));
    STRATA_ASSIGN_OR_RETURN(const double beta, c.Real(1, 1));
    if (beta == 0) return c.Error("beta must not be 0");
    return Object(Number::Float((std::max(x * beta, 0.0) + std::log1p(std::exp(-std::fabs(x * beta)))) / beta));
  }
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const double beta, c.Real(1, 1));
  if (beta == 0) return c.Error("beta must not be 0");
  return Object(beta == 1 ? Softplus(x) : Softplus(x * beta) / beta);
}

Result CallTanhshrink(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  return Object(x - Tanh(x));
}
Result CallSoftshrink(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const double lambda, c.Real(1, 0.5));
  const Value below = Select(Less(x, Like(x, -lambda)), x + lambda, Like(x, 0));
  return Object(Select(Above(x, lambda), x - lambda, below));
}
Result CallHardshrink(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const double lambda, c.Real(1, 0.5));
  return Object(Select(Above(Abs(x), lambda), x, Like(x, 0)));
}
Result CallThreshold(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Float(0));
  STRATA_ASSIGN_OR_RETURN(const double threshold, c.Real(1));
  STRATA_ASSIGN_OR_RETURN(const double value, c.Real(2));
  return Object(Select(Above(x, threshold), x, Like(x, value)));
}

constexpr Function kActivationFunctions[] = {
    {"relu", "x alpha|negative_slope? max_value? threshold?", CallRelu},
    {"relu6", "x", CallRelu6},
    {"gelu", "x approximate?", CallGelu},
    {"leaky_relu", "x slope|alpha|negative_slope?", CallLeakyRelu},
    {"elu", "x alpha?", CallElu},
    {"celu", "x alpha?", CallCelu},
    {"selu", "x", CallSelu},
    {"hard_sigmoid", "x", CallHardSigmoid},
    {"hardsigmoid", "x", CallHardsigmoid},
    {"hardswish", "x", CallHardswish},
    {"hardtanh", "x min_val|min_value? max_val|max_value?", CallHardtanh},
    {"softplus", "x beta?", CallSoftplus},
    {"tanhshrink", "x", CallTanhshrink},
    {"softshrink", "x lambd?", CallSoftshrink},
    {"hardshrink", "x lambd?", CallHardshrink},
    {"threshold", "x threshold value", CallThreshold},
};

}  // namespace

std::span<const Function> ActivationFunctions() { return kActivationFunctions; }

}  // namespace strata::expr
