// Runs strata-file, the process that reads and writes HDF5 files and archives.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "service/store/safetensors.h"

namespace strata::service {

// Thread-safe. Blocks; gives up after a time limit.
class FileTool {
 public:
  // `scratch_dir` exists and is ours: what a process that was killed left there goes.
  explicit FileTool(std::string scratch_dir);

  // The content of an HDF5 file or a .keras archive (files/containers.h). The tool's own status if it refuses;
  // DATA_LOSS if it dies of the file, RESOURCE_EXHAUSTED if it takes too long.
  // RESOURCE_EXHAUSTED also if the disk is full. What is given is given up before the result is read: a file is in
  // memory once.
  absl::StatusOr<TensorFile> Unpack(std::string bytes) const;
  absl::StatusOr<std::string> Pack(TensorFile content) const;

 private:
  const std::string scratch_dir_;
};

}  // namespace strata::service
