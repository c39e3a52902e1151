// A file that a client sends in chunks.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "service/store/tensor_reader.h"

namespace strata::service {

// Safetensors go straight into their tensors; other files are gathered as they are. Thread-compatible.
class IncomingFile {
 public:
  // `announced` is the file's size, 0 if it is not known.
  IncomingFile(uint64_t announced, uint64_t max_bytes) : announced_(announced), max_bytes_(max_bytes) {}

  absl::Status Add(absl::string_view bytes);
  // DATA_LOSS if the file is not as long as it was announced.
  absl::Status Finish();

  uint64_t size() const { return size_; }
  // After Finish: what it is. Tensors, or bytes.
  bool is_tensors() const { return tensors_.has_value(); }
  TensorFile& tensors() { return *tensors_; }
  const std::string& bytes() const { return bytes_; }
  std::string TakeBytes() { return std::move(bytes_); }
  // SHA-256 of the whole file. Before Finish.
  std::string Digest() const;

 private:
  const uint64_t announced_, max_bytes_;
  uint64_t size_ = 0;
  std::string bytes_;
  std::optional<TensorReader> reader_;
  std::optional<TensorFile> tensors_;
};

}  // namespace strata::service
