// The safetensors format, strictly: 8-byte little-endian header length, JSON header, data. A reader that accepts less
// than others do: no holes, no overlaps, no trailing bytes, no duplicate names. It trusts nothing and allocates only
// what the file's own length covers.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>
#include "absl/strings/string_view.h"

#include "absl/status/statusor.h"
#include "engine/base/tensor.h"

namespace strata::service {

using Metadata = std::map<std::string, std::string>;

struct TensorFile {
  NamedTensors tensors;
  Metadata metadata;
};

struct TensorEntry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  uint64_t begin = 0;  // in the data part
  uint64_t end = 0;
};

struct TensorHeader {
  std::vector<TensorEntry> entries;  // in the order of their bytes
  Metadata metadata;
};

inline constexpr uint64_t kMaxHeaderBytes = 100000000;

// Parses the JSON header of a file whose data part has `data_bytes`. DATA_LOSS for a broken rule, UNIMPLEMENTED for an
// element type that the engine does not have.
absl::StatusOr<TensorHeader> ParseTensorHeader(absl::string_view header, uint64_t data_bytes);

// The size of the data part is not known yet: only the entries' own order is checked.
inline constexpr uint64_t kAnySize = ~uint64_t{0};

// A whole file in memory.
absl::StatusOr<TensorFile> ParseTensors(absl::string_view bytes);

// Header length, header and padding of a file; the data follows in the order of the names of `order`. Equal tensors
// give equal bytes.
std::string TensorFilePrefix(const NamedViews& tensors, const Metadata& metadata, std::vector<std::string>* order);
std::string TensorFilePrefix(const NamedTensors& tensors, const Metadata& metadata, std::vector<std::string>* order);

NamedViews ViewsOf(const NamedTensors& tensors);

}  // namespace strata::service
