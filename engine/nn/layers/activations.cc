// Activations of one element: as layers and as arguments. Each is a line or a few, which both uses share, so they stand
// together; those with an axis or parameters have files of their own. Formulas and gradients at kinks follow each
// framework: see the comments.
#include "engine/nn/layers/activations.h"

#include <cmath>

#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// x where x > 0, else `negative`; the gradient at 0 is the negative branch's.
Value Branch(Value x, Value negative) { return Select(Greater(x, Like(x, 0)), x, negative); }

// Clips to [low, high]; the gradient is zero at both bounds.
Value Clip(Value x, double low, double high) {
  const Value inside = And(Greater(x, Like(x, low)), Less(x, Like(x, high)));
  const Value bound = Select(LessEqual(x, Like(x, low)), Like(x, low), Like(x, high));
  // A NaN is neither inside nor below: keep it.
  return Select(Equal(x, x), Select(inside, x, bound), x);
}

Value Apply(Scope&, const v1::Identity&, Value x) { return x; }
Value Apply(Scope&, const v1::Tanh&, Value x) { return Tanh(x); }
Value Apply(Scope&, const v1::Silu& a, Value x) {
  return x * Sigmoid(!a.has_beta() || a.beta() == 1 ? x : x * a.beta());
}
Value Apply(Scope&, const v1::Softsign&, Value x) { return x / (Abs(x) + 1); }
Value Apply(Scope&, const v1::Mish&, Value x) { return x * Tanh(Softplus(x)); }
Value Apply(Scope&, const v1::LogSigmoid&, Value x) { return -Softplus(-x); }
Value Apply(Scope&, const v1::Hardswish&, Value x) { return x * Clip(x + 3, 0, 6) / 6; }
Value Apply(Scope&, const v1::Exponential&, Value x) { return Exp(x); }
Value Apply(Scope&, const v1::Relu6&, Value x) { return Clip(x, 0, 6); }
Value Apply(Scope&, const v1::Hardtanh& a, Value x) { return Clip(x, a.min_value(), a.max_value()); }

// PyTorch: relu6(x + 3) / 6. Keras 2: clip(0.2 x + 0.5, 0, 1).
Value Apply(Scope& s, const v1::HardSigmoid&, Value x) {
  if (s.pytorch()) return Clip(x + 3, 0, 6) / 6;
  // The gradient passes at both bounds.
  const Value y = x * 0.2 + 0.5;
  return Select(Less(x, Like(x, -2.5)), Like(x, 0), Select(Greater(x, Like(x, 2.5)), Like(x, 1), y));
}

// x > threshold (then at most max_value), else slope * (x - threshold).
Value Apply(Scope&, const v1::Relu& a, Value x) {
  // As Keras composes it, which decides the gradients at the kinks: at the threshold none, at the maximum all of it but
  // for relu6, which has a kernel of its own.
  if (a.threshold() == 0 && !a.has_max_value()) {
    return a.negative_slope() == 0 ? Relu(x) : Branch(x, x * a.negative_slope());
  }
  Value y;
  if (a.threshold() != 0) {
    y = Select(LessEqual(x, Like(x, a.threshold())), Like(x, 0), x);
  } else {
    y = a.max_value() == 6 ? Clip(x, 0, 6) : Relu(x);
  }
  if (a.has_max_value() && !(a.threshold() == 0 && a.max_value() == 6)) {
    const Value max = Like(x, a.max_value());
    y = Select(Greater(y, max), max, y);
    if (a.threshold() < 0) y = Select(Less(y, Like(x, 0)), Like(x, 0), y);
  }
  return a.negative_slope() == 0 ? y : y - Relu(a.threshold() - x) * a.negative_slope();
}

Value Apply(Scope&, const v1::LeakyRelu& a, Value x) { return Branch(x, x * a.negative_slope()); }
Value Apply(Scope&, const v1::Elu& a, Value x) { return Branch(x, Expm1(Min(x, 0)) * a.alpha()); }

// The gradient at 0 is s * alpha in PyTorch and s in TensorFlow, which tests the output's sign.
Value Apply(Scope& s, const v1::Selu&, Value x) {
  constexpr double kAlpha = 1.6732632423543772848170429916717, kScale = 1.0507009873554804934193349852946;
  const Value zero = Like(x, 0), negative = Expm1(Min(x, 0)) * kAlpha;
  return Select(s.pytorch() ? Greater(x, zero) : GreaterEqual(x, zero), x, negative) * kScale;
}

Value Apply(Scope&, const v1::Gelu& a, Value x) {
  if (a.approximate() == v1::Gelu::TANH) {
    // (1 + tanh u) / 2, without the difference of nearly equal numbers where x is far below 0.
    return x * Sigmoid((x + Square(x) * x * 0.044715) * std::sqrt(8 / M_PI));
  }
  return x * 0.5 * (Erf(x * M_SQRT1_2) + 1);
}

// PyTorch: x beyond the threshold. Keras: log(1 + e^x) everywhere.
Value Apply(Scope& s, const v1::Softplus& a, Value x) {
  if (!s.pytorch()) return Softplus(x);
  const Value scaled = x * a.beta();
  return Select(Greater(scaled, Like(x, a.threshold())), x, Softplus(scaled) / a.beta());
}

Annotated Apply(Scope&, const v1::Sigmoid&, Value x) {
  Annotated y = Sigmoid(x);
  y.logits = x;
  y.maker = Annotated::Maker::kSigmoid;
  return y;
}

// An activation as a layer: elementwise, passes the mask on.
template <typename M>
Component Elementwise(const std::string& name) {
  return Layer<M>(
             name, +[](Scope& s, const M& a, const Args& args) -> Outputs { return {Apply(s, a, args[0].value)}; })
      .Shapes("x[...] -> y[...]")
      .Mask(MaskRule::kPass);
}

}  // namespace

Annotated Activate(Scope& s, const v1::Activation& a, Annotated x) {
  const Value v = x.value;
  if (!v) return x;
  switch (a.kind_case()) {
    case v1::Activation::kSigmoid:
      return Apply(s, a.sigmoid(), v);
    case v1::Activation::kSoftmax:
      return SoftmaxOf(s, a.softmax(), v);
    case v1::Activation::kTanh:
      return Apply(s, a.tanh(), v);
    case v1::Activation::kRelu:
      return Apply(s, a.relu(), v);
    case v1::Activation::kLeakyRelu:
      return Apply(s, a.leaky_relu(), v);
    case v1::Activation::kElu:
      return Apply(s, a.elu(), v);
    case v1::Activation::kSelu:
      return Apply(s, a.selu(), v);
    case v1::Activation::kSilu:
      return Apply(s, a.silu(), v);
    case v1::Activation::kGelu:
      return Apply(s, a.gelu(), v);
    case v1::Activation::kLogSoftmax:
      return LogSoftmaxOf(s, a.log_softmax(), v);
    case v1::Activation::kSoftplus:
      return Apply(s, a.softplus(), v);
    case v1::Activation::kSoftsign:
      return Apply(s, a.softsign(), v);
    case v1::Activation::kHardSigmoid:
      return Apply(s, a.hard_sigmoid(), v);
    case v1::Activation::kMish:
      return Apply(s, a.mish(), v);
    case v1::Activation::kRelu6:
      return Apply(s, a.relu6(), v);
    case v1::Activation::kExponential:
      return Apply(s, a.exponential(), v);
    case v1::Activation::kLinear:
    case v1::Activation::KIND_NOT_SET:
      break;
  }
  return v;
}

Components Activations() {
  return {
      Elementwise<v1::Elu>("elu").Takes(kFloats).With("", {{2, 3}}).With("alpha: 0.5", {{4, 1}}).With("", {{1, 2, 5}}),

      Elementwise<v1::Exponential>("exponential")
          .Takes(kAnyAsFloats, kFloats)
          .With("", {{2, 3}})
          .With("", {{4, 1}})
          .With("", {{1, 2, 5}}),

      Elementwise<v1::Gelu>("gelu")
          .Takes(kFloats)
          .With("", {{2, 3}})
          .With("approximate: TANH", {{4, 1}})
          .With("", {{1, 2, 5}}),

      Elementwise<v1::HardSigmoid>("hard_sigmoid")
          .Takes(kFloats)
          .With("", {{2, 3}})
          .With("", {{4, 1}})
          .With("", {{1, 2, 5}}),
      Elementwise<v1::Hardswish>("hardswish")
          .Takes(kFloats)
          .With({"", {{2, 3}}, v1::PYTORCH})
          .With({"", {{4, 1}}, v1::PYTORCH})
          .With({"", {{1, 2, 5}}, v1::PYTORCH}),
      Elementwise<v1::Hardtanh>("hardtanh")
          .Takes(kNumbers)
          .With({"", {{2, 3}}, v1::PYTORCH})
          .With({"min_value: -2", {{4, 1}}, v1::PYTORCH})
          .With({"", {{1, 2, 5}}, v1::PYTORCH}),
      Elementwise<v1::Identity>("identity").With("", {{2, 3}}).With("", {{4, 1}}).With("", {{1, 2, 5}}),
      Elementwise<v1::LeakyRelu>("leaky_relu")
          .Takes(kFloats, kNumbersAsFloats)
          .With("", {{2, 3}})
          .With("negative_slope: 0.5", {{4, 1}})
          .With("", {{1, 2, 5}}),
      Elementwise<v1::LogSigmoid>("log_sigmoid")
          .Takes(kFloats)
          .With({"", {{2, 3}}, v1::PYTORCH})
          .With({"", {{4, 1}}, v1::PYTORCH})
          .With({"", {{1, 2, 5}}, v1::PYTORCH}),
      Elementwise<v1::Mish>("mish").Takes(kFloats).With("", {{2, 3}}).With("", {{4, 1}}).With("", {{1, 2, 5}}),
      Elementwise<v1::Relu>("relu").Takes(kNumbers).With("", {{2, 3}}).With("", {{17, 3}}).With("", {{1, 2, 5, 3}}),
      Elementwise<v1::Relu6>("relu6").Takes(kNumbers).With("", {{2, 3}}).With("", {{4, 1}}).With("", {{1, 2, 5}}),
      Elementwise<v1::Selu>("selu").Takes(kFloats).With("", {{2, 3}}).With("", {{4, 1}}).With("", {{1, 2, 5}}),
      Elementwise<v1::Sigmoid>("sigmoid")
          .Takes(kAnyAsFloats, kFloats)
          .With("", {{2, 3}})
          .With("", {{5}})
          .With("", {{1, 2, 7}}),
      Elementwise<v1::Silu>("silu").Takes(kFloats).With("", {{2, 3}}).With("", {{4, 1}}).With("", {{1, 2, 5}}),
      Elementwise<v1::Softplus>("softplus").Takes(kFloats).With("", {{2, 3}}).With("", {{4, 1}}).With("", {{1, 2, 5}}),
      Elementwise<v1::Softsign>("softsign")
          .Takes(kNumbersAsFloats, kFloats)
          .With("", {{2, 3}})
          .With("", {{4, 1}})
          .With("", {{1, 2, 5}}),
      Elementwise<v1::Tanh>("tanh")
          .Takes(kAnyAsFloats, kFloats)
          .With("", {{2, 3}})
          .With("", {{7, 1}})
          .With("", {{1, 2, 5}})};
}

}  // namespace strata::nn
