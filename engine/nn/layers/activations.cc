// Activations, as layers and as arguments. Formulas and gradients at kinks follow each framework: see the comments.
#include "engine/nn/layers/activations.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/base/shape.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"

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

// The axis of a softmax; fails if there is none.
int AxisOf(Scope& s, bool has_axis, int64_t axis, Value x) {
  const int a = has_axis ? static_cast<int>(axis) : DefaultAxis(x.rank());
  const int positive = a < 0 ? a + x.rank() : a;
  if (positive == 0 && x.rank() > 0) s.MixRows();
  if (x.rank() == 0 && (a == 0 || a == -1)) return 0;
  if (positive < 0 || positive >= x.rank()) {
    s.Fail(absl::StrCat("axis: must name an axis of ", ShapeString(x.shape()), ", got ", a));
    return -1;
  }
  return positive;
}

Annotated Apply(Scope&, const v1::Sigmoid&, Value x) {
  Annotated y = Sigmoid(x);
  y.logits = x;
  y.maker = Annotated::Maker::kSigmoid;
  return y;
}

// Softmax over several axes together.
Value OverAxes(Scope& s, const std::vector<int64_t>& given, Value x) {
  std::vector<int64_t> axes, order;
  for (int64_t a : given) axes.push_back(a < 0 ? a + x.rank() : a);
  std::sort(axes.begin(), axes.end());
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] < 0 || axes[i] >= x.rank() || (i > 0 && axes[i] == axes[i - 1])) {
      return s.Fail(absl::StrCat("axis|axes: must name different axes of ", ShapeString(x.shape()), ", got ",
                                 ShapeString(given)));
    }
  }
  const Value e = Exp(x - ReduceMax(x, axes, true));
  return e / ReduceSum(e, axes, true);
}

Annotated Apply(Scope& s, const v1::Softmax& a, Value x) {
  if (a.axes_size() > 0) return OverAxes(s, {a.axes().begin(), a.axes().end()}, x);
  if (!s.pytorch() && x.rank() < 2) {
    return s.Fail(absl::StrCat("x: softmax needs at least two axes, got ", ShapeString(x.shape())));
  }
  const int axis = AxisOf(s, a.has_axis(), a.axis(), x);
  if (axis < 0) return Value{s.graph(), -1};
  Annotated y = x.rank() == 0 ? x * 0 + 1 : Softmax(x, axis);
  if (axis == x.rank() - 1) {
    y.logits = x;
    y.maker = Annotated::Maker::kSoftmax;
  }
  return y;
}

// As a layer, Keras' softmax leaves masked positions out: they get a large negative number first.
Outputs BuildSoftmax(Scope& s, const v1::Softmax& a, const Args& args) {
  Value x = args[0].value;
  const Value mask = args[0].mask;
  if (!s.pytorch() && mask) {
    if (!BroadcastShape(mask.shape(), x.shape()).ok()) {
      return {s.Fail(
          absl::StrCat("mask: must fit the input ", ShapeString(x.shape()), ", got ", ShapeString(mask.shape())))};
    }
    x = a.robust_masking() ? Select(mask, x, Like(x, -1e9)) : x + (1.0 - Cast(mask, x.dtype())) * -1e9;
  }
  Annotated y = Apply(s, a, x);
  if (y.maker == Annotated::Maker::kSoftmax) y.maker = Annotated::Maker::kSoftmaxLayer;
  return {y};
}

Value Apply(Scope& s, const v1::LogSoftmax& a, Value x) {
  const int axis = AxisOf(s, a.has_axis(), a.axis(), x);
  if (axis < 0) return {s.graph(), -1};
  return x.rank() == 0 ? x * 0 : LogSoftmax(x, axis);
}

// An activation as a layer: elementwise, passes the mask on.
template <typename M>
Component Elementwise(const std::string& name) {
  return Layer<M>(
             name, +[](Scope& s, const M& a, const Args& args) -> Outputs { return {Apply(s, a, args[0].value)}; })
      .Shapes("x[...] -> y[...]")
      .Mask(MaskRule::kPass);
}

Outputs BuildActivation(Scope& s, const v1::ActivationLayer& a, const Args& args) {
  Annotated y = Activate(s, a.activation(), args[0]);
  y.mask = args[0].mask;
  return {y};
}

// max(0, x) + a * min(0, x); PyTorch has one slope or one for each channel of axis 1, Keras one for each element but
// for shared axes.
Outputs BuildPrelu(Scope& s, const v1::Prelu& a, const Args& args) {
  const Value x = args[0];
  Value alpha;
  if (s.pytorch()) {
    v1::Initializer start;
    start.mutable_constant()->set_value(a.init());
    if (a.num_parameters() != 1 && (x.rank() < 2 || x.dim(1) != a.num_parameters())) {
      return {s.Fail(absl::StrCat("num_parameters: must be 1 or the size of axis 1 of ", ShapeString(x.shape()),
                                  ", got ", a.num_parameters()))};
    }
    alpha = s.Param("weight", {a.num_parameters()}, {.initializer = start});
    if (x.rank() == 0) {
      alpha = Reshape(alpha, {});
    } else if (a.num_parameters() != 1) {
      Shape shape(x.rank() - 1, 1);
      shape[0] = a.num_parameters();
      alpha = Reshape(alpha, shape);
    }
  } else {
    Shape shape(x.shape().begin() + 1, x.shape().end());
    for (int64_t axis : a.shared_axes()) {
      if (axis > static_cast<int64_t>(shape.size())) {
        return {s.Fail(absl::StrCat("shared_axes: must name an axis of the input, got ", axis))};
      }
      shape[axis - 1] = 1;
    }
    alpha = s.Param("alpha", shape,
                    {.initializer = a.alpha_initializer(),
                     .regularizer = a.has_alpha_regularizer() ? &a.alpha_regularizer() : nullptr,
                     .constraint = a.has_alpha_constraint() ? &a.alpha_constraint() : nullptr});
  }
  // At 0 Keras' two halves have no gradient.
  return {s.pytorch() ? Branch(x, x * alpha) : Relu(x) - Relu(-x) * alpha};
}

}  // namespace

int DefaultAxis(int rank) { return rank == 0 || rank == 1 || rank == 3 ? 0 : 1; }

Annotated Activate(Scope& s, const v1::Activation& a, Annotated x) {
  const Value v = x.value;
  if (!v) return x;
  switch (a.kind_case()) {
    case v1::Activation::kSigmoid:
      return Apply(s, a.sigmoid(), v);
    case v1::Activation::kSoftmax:
      return Apply(s, a.softmax(), v);
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
      return Apply(s, a.log_softmax(), v);
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

std::vector<Component> ActivationLayers() {
  std::vector<Component> list;
  list.push_back(Elementwise<v1::Sigmoid>("sigmoid").With("", {{2, 3}}).With("", {{5}}).With("", {{1, 2, 7}}));
  list.push_back(Layer<v1::Softmax>("softmax", &BuildSoftmax)
                     .Shapes("x[...] -> y[...]")
                     .Mask(MaskRule::kPass)
                     .Named(v1::KERAS, {"mask"})
                     .With("axis: -1", {{2, 3}})
                     .With("axis: 1", {{2, 3, 4}})
                     .With("axis: 1", {{1, 10}}));
  list.push_back(Elementwise<v1::Tanh>("tanh").With("", {{2, 3}}).With("", {{7, 1}}).With("", {{1, 2, 5}}));
  list.push_back(Elementwise<v1::Relu>("relu").With("", {{2, 3}}).With("", {{17, 3}}).With("", {{1, 2, 5, 3}}));
  list.push_back(Elementwise<v1::LeakyRelu>("leaky_relu")
                     .With("", {{2, 3}})
                     .With("negative_slope: 0.5", {{4, 1}})
                     .With("", {{1, 2, 5}}));
  list.push_back(Elementwise<v1::Elu>("elu").With("", {{2, 3}}).With("alpha: 0.5", {{4, 1}}).With("", {{1, 2, 5}}));
  list.push_back(Elementwise<v1::Selu>("selu").With("", {{2, 3}}).With("", {{4, 1}}).With("", {{1, 2, 5}}));
  list.push_back(Elementwise<v1::Silu>("silu").With("", {{2, 3}}).With("", {{4, 1}}).With("", {{1, 2, 5}}));
  list.push_back(
      Elementwise<v1::Gelu>("gelu").With("", {{2, 3}}).With("approximate: TANH", {{4, 1}}).With("", {{1, 2, 5}}));
  list.push_back(Elementwise<v1::LogSoftmax>("log_softmax")
                     .With("axis: -1", {{2, 3}})
                     .With("axis: 1", {{2, 3, 4}})
                     .With("axis: 1", {{1, 10}}));
  list.push_back(Elementwise<v1::Softplus>("softplus").With("", {{2, 3}}).With("", {{4, 1}}).With("", {{1, 2, 5}}));
  list.push_back(Elementwise<v1::Softsign>("softsign").With("", {{2, 3}}).With("", {{4, 1}}).With("", {{1, 2, 5}}));
  list.push_back(
      Elementwise<v1::HardSigmoid>("hard_sigmoid").With("", {{2, 3}}).With("", {{4, 1}}).With("", {{1, 2, 5}}));
  list.push_back(Elementwise<v1::Mish>("mish").With("", {{2, 3}}).With("", {{4, 1}}).With("", {{1, 2, 5}}));
  list.push_back(Elementwise<v1::Relu6>("relu6").With("", {{2, 3}}).With("", {{4, 1}}).With("", {{1, 2, 5}}));
  list.push_back(Elementwise<v1::Hardswish>("hardswish")
                     .With({"", {{2, 3}}, v1::PYTORCH})
                     .With({"", {{4, 1}}, v1::PYTORCH})
                     .With({"", {{1, 2, 5}}, v1::PYTORCH}));
  list.push_back(Elementwise<v1::LogSigmoid>("log_sigmoid")
                     .With({"", {{2, 3}}, v1::PYTORCH})
                     .With({"", {{4, 1}}, v1::PYTORCH})
                     .With({"", {{1, 2, 5}}, v1::PYTORCH}));
  list.push_back(Elementwise<v1::Hardtanh>("hardtanh")
                     .With({"", {{2, 3}}, v1::PYTORCH})
                     .With({"min_value: -2", {{4, 1}}, v1::PYTORCH})
                     .With({"", {{1, 2, 5}}, v1::PYTORCH}));
  list.push_back(
      Elementwise<v1::Exponential>("exponential").With("", {{2, 3}}).With("", {{4, 1}}).With("", {{1, 2, 5}}));
  list.push_back(Elementwise<v1::Identity>("identity").With("", {{2, 3}}).With("", {{4, 1}}).With("", {{1, 2, 5}}));
  list.push_back(Layer<v1::ActivationLayer>("activation", &BuildActivation)
                     .Shapes("x[...] -> y[...]")
                     .Mask(MaskRule::kConsume)
                     .With({"activation { relu {} }", {{2, 3}}, v1::KERAS})
                     .With({"activation { softmax {} }", {{4, 3}}, v1::KERAS})
                     .With({"activation { elu { alpha: 2 } }", {{1, 2, 5}}, v1::KERAS}));
  list.push_back(Layer<v1::Prelu>("prelu", &BuildPrelu)
                     .Shapes("x[N, ...] -> y[N, ...]")
                     .Mask(MaskRule::kPass)
                     .With("", {{2, 3}})
                     .With({"num_parameters: 3", {{2, 3, 4}}, v1::PYTORCH})
                     .With({"shared_axes: 1", {{2, 3, 4}}, v1::KERAS}));
  return list;
}

}  // namespace strata::nn
