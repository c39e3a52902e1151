// Rows of several requests in one tensor, and back.
#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/tensor.h"

namespace strata::service {

// Joins the requests' tensors along axis 0, input by input, and repeats the last row up to `padded_rows`. The requests
// have the same names, types and shapes but for axis 0.
NamedTensors GatherRows(std::span<const NamedViews* const> requests, int64_t padded_rows);

// Cuts every output along axis 0 into pieces of `rows`; what is left over is padding. INTERNAL if an output has fewer
// rows.
absl::StatusOr<std::vector<NamedTensors>> ScatterRows(const NamedTensors& outputs, std::span<const int64_t> rows);

}  // namespace strata::service
