// Checks that a model and its conversion predict the same, on random weights and inputs.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "engine/convert/convert.h"
#include "strata/v1/model.pb.h"

namespace strata {

// From protobuf text; a mistake in it fails the test.
v1::Model ModelOf(const std::string& text);

// Axis i of the result is axis axes[i] of the tensor.
Tensor Moved(const Tensor& t, const std::vector<int64_t>& axes);

// Converts `model` to the other dialect and compares predictions, in double and in float; `inputs` take the place of
// random ones. The conversion's own status if it has none; FAILED_PRECONDITION "name: ..." where predictions differ.
absl::Status Agrees(const v1::Model& model, Conversion* conversion = nullptr);

v1::Dialect Other(v1::Dialect dialect);

}  // namespace strata
