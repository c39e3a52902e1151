// A file that a client sends in chunks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "service/store/growing_file.h"
#include "service/store/tensor_reader.h"

namespace strata::service {

// Safetensors go straight into their tensors; other files are gathered as they are. Thread-compatible.
class IncomingFile {
 public:
  // `announced` is the file's size, 0 if it is not known. `growing`, if given, follows the tensors of a file that has
  // some.
  IncomingFile(uint64_t announced, uint64_t max_bytes, std::unique_ptr<GrowingFile> growing = nullptr)
      : announced_(announced), max_bytes_(max_bytes), growing_(std::move(growing)) {}

  absl::Status Add(absl::string_view bytes);
  // DATA_LOSS if the file is not as long as it was announced.
  absl::Status Finish();

  uint64_t size() const { return size_; }
  // After Finish: what it is. Tensors, or bytes.
  bool is_tensors() const { return tensors_.has_value(); }
  TensorFile& tensors() { return *tensors_; }
  const std::string& bytes() const { return bytes_; }
  std::string TakeBytes() { return std::move(bytes_); }
  // A version's file with the tensors that came, or null. After the last Add. It must go before they do.
  std::unique_ptr<GrowingFile> TakeGrowing();
  // SHA-256 of the whole file. Before Finish.
  std::string Digest() const;

 private:
  const uint64_t announced_, max_bytes_;
  uint64_t size_ = 0;
  std::string bytes_;
  std::optional<TensorReader> reader_;
  std::optional<TensorFile> tensors_;
  std::unique_ptr<GrowingFile> growing_;  // reads the tensors: goes first
};

}  // namespace strata::service
