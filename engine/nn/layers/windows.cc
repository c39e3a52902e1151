#include "engine/nn/layers/windows.h"

#include "engine/ops/ops.h"
#include "engine/ops/record.h"

namespace strata::nn {
namespace {

Value Ids(Graph* g, const WindowGrid& grid) {
  const std::vector<int64_t> cells = grid.Cells();
  const int64_t places = NumElements(grid.Places());
  return Constant(g, Tensor::Of(DType::kI32, {static_cast<int64_t>(cells.size()) / places, places}, cells));
}

}  // namespace

std::vector<int64_t> WindowGrid::Places() const {
  std::vector<int64_t> out;
  for (size_t i = 0; i < size.size(); ++i) {
    const int64_t room = size[i] + pad_lo[i] + pad_hi[i] - dilation[i] * (kernel[i] - 1) - 1;
    out.push_back(room < 0 ? 0 : room / stride[i] + 1);
  }
  return out;
}

std::vector<int64_t> WindowGrid::Cells() const {
  std::vector<int64_t> ids;
  const std::vector<int64_t> places = Places();
  ForEachIndex(kernel, [&](int64_t, const std::vector<int64_t>& tap) {
    ForEachIndex(places, [&](int64_t, const std::vector<int64_t>& place) {
      int64_t id = 0;
      for (size_t d = 0; d < size.size(); ++d) {
        const int64_t at = place[d] * stride[d] - pad_lo[d] + tap[d] * dilation[d];
        id = at < 0 || at >= size[d] || id < 0 ? -1 : id * size[d] + at;
      }
      ids.push_back(id);
    });
  });
  return ids;
}

Value GatherWindows(Value x, const WindowGrid& grid) {
  if (!x) return x;
  const int64_t batch = x.dim(0), channels = x.dim(-1), cells = NumElements(grid.size);
  const Value rows = Transpose(Reshape(x, {batch, cells, channels}), {1, 0, 2});
  return Gather(rows, Ids(x.graph, grid));
}

Value ScatterWindows(Value columns, const WindowGrid& grid) {
  if (!columns) return columns;
  const int64_t batch = columns.dim(2), channels = columns.dim(3), cells = NumElements(grid.size);
  const Value ids = Ids(columns.graph, grid);
  const Value rows = ScatterAdd(ids, columns, cells);  // [cells, N, C]
  Shape shape{batch};
  shape.insert(shape.end(), grid.size.begin(), grid.size.end());
  shape.push_back(channels);
  return Reshape(Transpose(rows, {1, 0, 2}), shape);
}

}  // namespace strata::nn
