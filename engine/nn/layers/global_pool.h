// What Keras' global poolings share.
#pragma once

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {

// All spatial axes.
inline std::vector<int64_t> SpatialAxes(int axes, v1::DataFormat format) {
  std::vector<int64_t> list;
  for (int i = 0; i < axes; ++i) list.push_back(i + (format == v1::CHANNELS_FIRST ? 2 : 1));
  return list;
}

// Fails, and is false, if x has not `axes` spatial axes.
inline bool CheckSpatial(Scope& s, Value x, int axes) {
  if (x.rank() == axes + 2) return true;
  s.Fail(absl::StrCat("input: must have ", axes + 2, " axes, got ", ShapeString(x.shape())));
  return false;
}

// The samples of both, around an input with the channels last.
inline Component GlobalPoolSamples(Component c, Shape x) {
  Shape one = x;
  one[0] = 1;
  Shape thin = x;
  thin.back() = 1;
  return std::move(c)
      .Shapes("x[N, spatial..., C] -> y[N, C] or y[N, ones..., C]")
      .With({"", {x}, v1::KERAS})
      .With({"keepdims: true", {one}, v1::KERAS})
      .With({"data_format: CHANNELS_FIRST", {thin}, v1::KERAS});
}

}  // namespace strata::nn
