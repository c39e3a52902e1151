// The IDX format of the MNIST family of datasets: a big-endian header, then unsigned bytes. Plain or gzip.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace strata::cli {

struct IdxFile {
  std::vector<int64_t> shape;
  std::vector<uint8_t> data;  // product(shape) elements, row-major
};

// Reads a file of unsigned bytes. NOT_FOUND if there is none, INVALID_ARGUMENT (with the path) if it is no such file or
// ends early.
absl::StatusOr<IdxFile> ReadIdx(const std::string& path);

}  // namespace strata::cli
