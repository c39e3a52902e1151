// The option --input of commands that take a definition in PyTorch's words.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "strata/v1/model.pb.h"

namespace strata::cli {

// NAME:SHAPE without the batch, for example "image:1,28,28".
absl::StatusOr<v1::Input> ParseInput(const std::string& text);

}  // namespace strata::cli
