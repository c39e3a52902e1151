// Another shape behind the batch axis, of as many elements.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::Reshape& a, const Args& args) {
  const Value x = args[0];
  if (x.rank() == 0) return {s.Fail("x|input: must have a batch axis, got []")};
  int64_t known = 1, wild = 0;
  Shape shape{x.dim(0)};
  for (int64_t d : a.target_shape()) {
    if (d == -1) {
      ++wild;
    } else {
      known *= d;
    }
    shape.push_back(d);
  }
  const int64_t row = NumElements(std::span(x.shape()).subspan(1));
  if (wild > 1) return {s.Fail(absl::StrCat("target_shape: must have at most one -1, got ", wild))};
  if (wild == 1 ? (known == 0 || row % known != 0) : known != row) {
    return {s.Fail(
        absl::StrCat("target_shape: must have ", row, " elements, got ", ShapeString(std::span(shape).subspan(1))))};
  }
  for (int64_t& d : shape) d = d == -1 ? row / known : d;
  shape[0] = x.dim(0);
  return {Reshape(x, shape)};
}

}  // namespace

Components Reshape() {
  return Layer<v1::Reshape>("reshape", &Build)
      .Shapes("x[N, ...] -> y[N, target_shape...]")
      .With("target_shape: [2, -1]", {{2, 6}})
      .With("target_shape: 12", {{1, 3, 4}})
      .With("target_shape: [1, 1, 5]", {{3, 5}});
}

}  // namespace strata::nn
