// Cells of sliding windows, as ids of a flattened spatial grid: Unfold is a gather of them, Fold their scatter, a
// locally connected layer a gather and a batched product.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/nn/scope.h"

namespace strata::nn {

struct WindowGrid {
  std::vector<int64_t> size;  // of the input's spatial axes
  std::vector<int64_t> kernel, stride, dilation, pad_lo, pad_hi;

  // Windows along each axis; 0 or less where none fits.
  std::vector<int64_t> Places() const;
  // ids [window cells, places]: flat cell, or -1 in the padding.
  std::vector<int64_t> Cells() const;
};

// x [N, spatial..., C] -> [window cells, places, N, C]; the padding reads zeros.
Value GatherWindows(Value x, const WindowGrid& grid);
// The sum of columns [window cells, places, N, C] at their cells: [N, spatial..., C].
Value ScatterWindows(Value columns, const WindowGrid& grid);

}  // namespace strata::nn
