// Copies of each row, one behind the other.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::RepeatVector& a, const Args& args) {
  const Value x = args[0];
  if (x.rank() != 2) return {s.Fail(absl::StrCat("x: must have shape (N, D), got ", ShapeString(x.shape())))};
  return {Broadcast(ExpandDims(x, 1), {x.dim(0), a.n(), x.dim(1)})};
}

}  // namespace

Components RepeatVector() {
  return Layer<v1::RepeatVector>("repeat_vector", &Build)
      .Shapes("x[N, D] -> y[N, n, D]")
      .With("n: 3", {{2, 4}})
      .With("n: 1", {{1, 4}})
      .With("n: 2", {{3, 1}});
}

}  // namespace strata::nn
