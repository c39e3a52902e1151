// Affine map of the last axis.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/layers/activations.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Outputs BuildLinear(Scope& s, const v1::Linear& a, const Args& args) {
  Value x = args[0];
  if (!IsFloat(x.dtype())) {
    if (s.pytorch()) return {s.Fail(absl::StrCat("input: must be real numbers, got ", DTypeName(x.dtype())))};
    x = Cast(x, DType::kF32);
  }
  if (x.rank() < (s.pytorch() ? 1 : 2)) {
    return {s.Fail(absl::StrCat("input: needs ", s.pytorch() ? 1 : 2, " axes or more, got ", ShapeString(x.shape())))};
  }
  const int64_t in = x.dim(-1);
  if (a.has_in_features() && a.in_features() != in) {
    return {s.Fail(absl::StrCat("in_features|input: must equal the input's last axis, ", a.in_features(), ", got ",
                                ShapeString(x.shape())))};
  }
  const Value rows = x.rank() == 1 ? ExpandDims(x, 0) : x;
  Value y;
  if (s.pytorch()) {
    const v1::Initializer uniform = Uniform(1 / std::sqrt(static_cast<double>(in)));
    y = MatMul(rows, s.Param("weight", {a.units(), in}, {.initializer = uniform}), false, true);
    if (a.use_bias()) y = y + s.Param("bias", {a.units()}, {.initializer = uniform});
  } else {
    y = MatMul(rows, s.Param("kernel", {in, a.units()},
                             {.initializer = a.kernel_initializer(),
                              .regularizer = a.has_kernel_regularizer() ? &a.kernel_regularizer() : nullptr,
                              .constraint = a.has_kernel_constraint() ? &a.kernel_constraint() : nullptr}));
    if (a.use_bias()) {
      y = y + s.Param("bias", {a.units()},
                      {.initializer = a.bias_initializer(),
                       .regularizer = a.has_bias_regularizer() ? &a.bias_regularizer() : nullptr,
                       .constraint = a.has_bias_constraint() ? &a.bias_constraint() : nullptr});
    }
  }
  Annotated out = Activate(s, a.activation(), x.rank() == 1 ? Squeeze(y, 0) : y);
  return {out};
}

}  // namespace

Components Linear() {
  return Layer<v1::Linear>("linear", &BuildLinear)
      .Shapes("x[..., I] -> y[..., units]")
      .Mask(MaskRule::kPass)
      .With("units: 3", {{2, 4}})
      .With("units: 1 use_bias: false", {{5, 1, 2}})
      .With({"units: 3 activation { relu {} }", {{2, 4}}, v1::KERAS})
      .Reject("units: 0", {{2, 4}}, "units");
}

}  // namespace strata::nn
