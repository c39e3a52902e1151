// Names that clients choose, and the words that errors use.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include "absl/strings/string_view.h"

#include "absl/status/status.h"

namespace strata::service {

// Models and runs: [A-Za-z0-9][A-Za-z0-9_.-]{0,62}. INVALID_ARGUMENT that starts with `path` otherwise.
absl::Status CheckName(absl::string_view path, absl::string_view name);

// For labels and texts that a client sends: at most `max_bytes`, no control characters.
absl::Status CheckText(absl::string_view path, absl::string_view text, size_t max_bytes);

// What a client sent, fit for an error message: quoted, cut at 80 bytes, control characters escaped.
std::string Quote(absl::string_view text);

// "[1,784]", as the Open Inference Protocol's clients write shapes.
std::string ShapeText(std::span<const int64_t> shape);

}  // namespace strata::service
