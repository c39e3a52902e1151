#include "engine/nn/losses/keras_class.h"

#include "absl/strings/str_cat.h"
#include "engine/ops/ops.h"

namespace strata::nn {

int ClassAxis(Scope& s, int64_t axis, Value x) {
  const int a = static_cast<int>(axis < 0 ? axis + x.rank() : axis);
  if (a >= 0 && a < x.rank()) return a;
  s.Fail(absl::StrCat("axis: must name an axis of ", ShapeString(x.shape()), ", got ", axis));
  return -1;
}

Value LogProbabilities(Value p) { return Log(Min(Max(p, 1e-7), 1 - 1e-7)); }

}  // namespace strata::nn
