// Tensors as nested JSON lists, for `strata infer --json`.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "inference/open_inference.pb.h"

namespace strata::cli {

// Adds every input of the model from {"name": [[1, 2], ...], ...} (or a list alone, if there is one input) to
// `request`, with its values in raw contents. INVALID_ARGUMENT for ragged lists and values that are not of the input's
// type.
absl::Status AddRows(const std::string& json, const inference::ModelMetadataResponse& metadata,
                     inference::ModelInferRequest* request);

// {"name": [[0.5], ...], ...}, in one line. Numbers have the digits that their type tells apart.
absl::StatusOr<std::string> RowsOf(const inference::ModelInferResponse& response);

}  // namespace strata::cli
