// The parametric relu.
#include "absl/strings/str_cat.h"
#include "engine/base/shape.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

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
  return {s.pytorch() ? Select(Greater(x, Like(x, 0)), x, x * alpha) : Relu(x) - Relu(-x) * alpha};
}

}  // namespace

Components Prelu() {
  return Layer<v1::Prelu>("prelu", &BuildPrelu)
      .Shapes("x[N, ...] -> y[N, ...]")
      .Takes(kFloats)
      .Mask(MaskRule::kPass)
      .With("", {{2, 3}})
      .With({"num_parameters: 3", {{2, 3, 4}}, v1::PYTORCH})
      .With({"shared_axes: 1", {{2, 3, 4}}, v1::KERAS});
}

}  // namespace strata::nn
