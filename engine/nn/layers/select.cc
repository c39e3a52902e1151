// One place of an axis, which goes.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/axes.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::Select& a, const Args& args) {
  const Value x = args[0];
  const int axis = NamedAxis(s, a.axis(), x);
  if (axis < 0) return {Value{s.graph(), -1}};
  const int64_t index = a.index() < 0 ? a.index() + x.dim(axis) : a.index();
  if (index < 0 || index >= x.dim(axis)) {
    return {
        s.Fail(absl::StrCat("index: must be within axis ", axis, " of ", ShapeString(x.shape()), ", got ", a.index()))};
  }
  if (axis == 0) s.MixRows();
  return {Squeeze(SliceAxis(x, axis, index, 1), axis)};
}

}  // namespace

Components Select() {
  return Layer<v1::Select>("select", &Build)
      .Shapes("x[before..., A, after...] -> y[before..., after...]")
      .With("axis: 1 index: -1", {{2, 3, 4}})
      .With("axis: -1 index: 0", {{2, 5}})
      .With("axis: 2 index: 1", {{1, 2, 3}});
}

}  // namespace strata::nn
