// Axes become one.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// Keras keeps the batch axis; a rank-1 input becomes (N, 1), a channels-first input is moved to channels-last first.
Outputs Build(Scope& s, const v1::Flatten& a, const Args& args) {
  Value x = args[0];
  if (!s.pytorch()) {
    if (a.data_format() == v1::CHANNELS_FIRST && x.rank() > 2) {
      std::vector<int64_t> p{0};
      for (int i = 2; i < x.rank(); ++i) p.push_back(i);
      p.push_back(1);
      x = Transpose(x, p);
    }
    if (x.rank() == 0) return {s.Fail("x|input: must have a batch axis, got []")};
    return {Reshape(x, {x.dim(0), x.dim(0) == 0 ? 0 : x.num_elements() / x.dim(0)})};
  }
  if (x.rank() == 0 && a.start_axis() <= 0 && a.start_axis() >= -1 && a.end_axis() <= 0 && a.end_axis() >= -1) {
    return {Reshape(x, {1})};
  }
  const int64_t start = a.start_axis() < 0 ? a.start_axis() + x.rank() : a.start_axis();
  const int64_t end = a.end_axis() < 0 ? a.end_axis() + x.rank() : a.end_axis();
  if (start < 0 || start >= x.rank() || end < start || end >= x.rank()) {
    return {s.Fail(absl::StrCat("start_dim|end_dim|input: must name axes in order of ", ShapeString(x.shape()),
                                ", got ", a.start_axis(), " and ", a.end_axis()))};
  }
  Shape shape(x.shape().begin(), x.shape().begin() + start);
  int64_t merged = 1;
  for (int64_t i = start; i <= end; ++i) merged *= x.dim(static_cast<int>(i));
  shape.push_back(merged);
  shape.insert(shape.end(), x.shape().begin() + end + 1, x.shape().end());
  return {Reshape(x, shape)};
}

}  // namespace

Components Flatten() {
  return Layer<v1::Flatten>("flatten", &Build)
      .Shapes("x[...] -> y[flat...] (PyTorch); x[N, ...] -> y[N, features] (Keras)")
      .With("", {{2, 3, 4}})
      .With({"start_axis: 0 end_axis: 1", {{2, 3, 4}}, v1::PYTORCH})
      .With({"data_format: CHANNELS_FIRST", {{2, 3, 2, 2}}, v1::KERAS});
}

}  // namespace strata::nn
