// Iteration spaces: shapes with their broadcast operands, brought to the fewest axes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/shape.h"

namespace strata {

// Strides of an operand in a space that it broadcasts to; 0 where it repeats. Its rows, along the last axis, begin
// `row` elements apart; 0: they follow each other.
inline Shape BroadcastStrides(std::span<const int64_t> shape, std::span<const int64_t> space, int64_t row = 0) {
  Shape out(space.size(), 0);
  int64_t step = 1;
  for (size_t d = shape.size(), s = space.size(); d-- > 0;) {
    --s;
    out[s] = shape[d] == 1 ? 0 : step;
    step = row > 0 && d + 1 == shape.size() ? row : step * shape[d];
  }
  return out;
}

// Drops axes of size one and joins neighbours that every operand walks through as one. Axes on the two sides of `split`
// are not joined; `split` becomes the number of axes before it. Leaves at least one axis.
struct Collapsed {
  Shape space;
  std::vector<Shape> strides;  // by operand
  size_t split = 0;
};
inline Collapsed Collapse(std::span<const int64_t> space, std::span<const Shape> strides, size_t split) {
  Collapsed out;
  out.strides.resize(strides.size());
  for (size_t d = 0; d < space.size(); ++d) {
    if (d == split) out.split = out.space.size();
    if (space[d] == 1) continue;
    bool join = !out.space.empty() && (d < split || out.space.size() > out.split);
    for (size_t i = 0; join && i < strides.size(); ++i) join = out.strides[i].back() == strides[i][d] * space[d];
    if (join) {
      out.space.back() *= space[d];
      for (size_t i = 0; i < strides.size(); ++i) out.strides[i].back() = strides[i][d];
      continue;
    }
    out.space.push_back(space[d]);
    for (size_t i = 0; i < strides.size(); ++i) out.strides[i].push_back(strides[i][d]);
  }
  if (split >= space.size()) out.split = out.space.size();
  if (out.space.empty()) {
    out.space.push_back(1);
    for (Shape& s : out.strides) s.push_back(0);
  }
  return out;
}

}  // namespace strata
