#include "service/batching/rows.h"

#include <cstring>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"

namespace strata::service {

NamedTensors GatherRows(std::span<const NamedViews* const> requests, int64_t padded_rows) {
  NamedTensors joined;
  for (const auto& [name, first] : *requests[0]) {
    Shape shape = first.shape;
    shape[0] = padded_rows;
    Tensor tensor(first.dtype, shape);
    auto* to = static_cast<std::byte*>(tensor.raw());
    const size_t row_bytes = tensor.size_bytes() / static_cast<size_t>(padded_rows);
    const std::byte* const end = to + tensor.size_bytes();
    for (const NamedViews* request : requests) {
      const TensorView& view = request->at(name);
      STRATA_CHECK(view.size_bytes() <= static_cast<size_t>(end - to));
      std::memcpy(to, view.data, view.size_bytes());
      to += view.size_bytes();
    }
    for (; to < end; to += row_bytes) std::memcpy(to, to - row_bytes, row_bytes);
    joined.emplace(name, std::move(tensor));
  }
  return joined;
}

absl::StatusOr<std::vector<NamedTensors>> ScatterRows(const NamedTensors& outputs, std::span<const int64_t> rows) {
  const int64_t total = std::accumulate(rows.begin(), rows.end(), int64_t{0});
  std::vector<NamedTensors> pieces(rows.size());
  for (const auto& [name, tensor] : outputs) {
    if (tensor.shape().empty() || tensor.dim(0) < total) {
      return absl::InternalError(absl::StrCat("output ", name, " has not one row for each row of the input"));
    }
    const auto* from = static_cast<const std::byte*>(tensor.raw());
    const size_t row_bytes = tensor.size_bytes() / static_cast<size_t>(tensor.dim(0));
    for (size_t i = 0; i < rows.size(); ++i) {
      Shape shape = tensor.shape();
      shape[0] = rows[i];
      const size_t bytes = row_bytes * static_cast<size_t>(rows[i]);
      pieces[i].emplace(name, Tensor::CopyOf({tensor.dtype(), shape, from}));
      from += bytes;
    }
  }
  return pieces;
}

}  // namespace strata::service
