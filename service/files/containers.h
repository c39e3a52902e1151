// HDF5 files and .keras archives as flat sets of tensors and texts: what the file tool translates, and nothing else
// reads.
//
// Datasets are tensors under their path ("model_weights/dense/dense/kernel:0"). Attributes are metadata under
// "attribute:<path>@<name>", as JSON: a text, a number or a list of texts. Members of an archive are metadata under
// "member:<name>"; the tensors are those of its model.weights.h5.
//
// These readers run in a process of their own with limits (file_tool.cc): what they read is hostile.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "service/store/safetensors.h"

namespace strata::service {

// Groups that are empty are metadata under "group:<path>" (written only).
inline constexpr char kAttribute[] = "attribute:", kMember[] = "member:", kGroup[] = "group:";

struct ContainerLimits {
  uint64_t max_tensor_bytes = 0;  // of all datasets together
  int max_depth = 24;
  int max_objects = 100000;
};

// DATA_LOSS for a damaged file, INVALID_ARGUMENT for what a model file does not hold (links, external data, other
// types), RESOURCE_EXHAUSTED beyond the limits. Whatever writes: UNAVAILABLE if the disk is full.
absl::StatusOr<TensorFile> ReadHdf5(const std::string& path, const ContainerLimits& limits);
absl::Status WriteHdf5(const TensorFile& file, const std::string& path);

// `scratch` is a file that may be written: the archive's HDF5 member.
absl::StatusOr<TensorFile> ReadArchive(const std::string& path, const std::string& scratch,
                                       const ContainerLimits& limits);
absl::Status WriteArchive(const TensorFile& file, const std::string& scratch, const std::string& path);

}  // namespace strata::service
