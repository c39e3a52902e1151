// Axes that arguments name.
#pragma once

#include "absl/strings/str_cat.h"
#include "engine/nn/scope.h"

namespace strata::nn {

// Axis of x that PyTorch's argument `dim` names, -1 after an error.
inline int NamedAxis(Scope& s, int64_t axis, Value x) {
  const int64_t a = axis < 0 ? axis + x.rank() : axis;
  if (a >= 0 && a < x.rank()) return static_cast<int>(a);
  s.Fail(absl::StrCat("dim: must name an axis of ", ShapeString(x.shape()), ", got ", axis));
  return -1;
}

}  // namespace strata::nn
