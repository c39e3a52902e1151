// Cells of sliding windows, as ids of a flattened spatial grid: Unfold is a gather of them, Fold their scatter, a
// locally connected layer a gather and a batched product.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/nn/layers/spatial.h"
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

// The windows of a layer over planes of `size`, PyTorch's Unfold or Fold, whose message is M. Fails if none fits.
template <typename M>
WindowGrid PlaneGridOf(Scope& s, const M& a, std::vector<int64_t> size) {
  const std::vector<int64_t> ones(2, 1), zeros(2, 0);
  WindowGrid grid;
  grid.size = std::move(size);
  grid.kernel = PerAxis(s, "kernel_size", a.kernel_size(), 2, ones);
  grid.dilation = PerAxis(s, "dilation", a.dilation(), 2, ones);
  grid.pad_lo = grid.pad_hi = PerAxis(s, "padding", a.padding(), 2, zeros);
  grid.stride = PerAxis(s, "stride", a.stride(), 2, ones);
  for (int64_t places : grid.Places()) {
    if (places < 1 && s.ok())
      s.Fail(absl::StrCat("kernel_size|input|output_size: must fit ", ShapeString(grid.size), ", got ",
                          ShapeString(grid.kernel)));
  }
  CheckPairs(s, "kernel_size|input|output_size", {grid.kernel, grid.Places()});
  return grid;
}

}  // namespace strata::nn
