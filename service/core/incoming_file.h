// A file that a client sends in chunks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "service/core/byte_budget.h"
#include "service/store/growing_file.h"
#include "service/store/tensor_reader.h"

namespace strata::service {

// Safetensors go straight into their tensors, but for those with a long header; they and other files are gathered as
// they are. Thread-compatible.
class IncomingFile {
 public:
  struct Options {
    uint64_t announced = 0;  // the file's size, 0 if it is not known
    uint64_t max_bytes = 0;
    bool digest_due = false;                   // Digest will be called: better to hash while the bytes come
    std::unique_ptr<GrowingFile> growing;      // follows the tensors of a file that has some
    std::unique_ptr<ByteBudget::Share> share;  // of what all files may hold; grows with the file, goes with this object
  };
  explicit IncomingFile(Options options) : options_(std::move(options)) {}

  // DATA_LOSS if the file is longer than it was announced, RESOURCE_EXHAUSTED beyond the share.
  absl::Status Add(absl::string_view bytes);
  // DATA_LOSS if the file is not as long as it was announced.
  absl::Status Finish();

  uint64_t size() const { return size_; }
  // After Finish: what it is. Tensors, or bytes.
  bool is_tensors() const { return tensors_.has_value(); }
  TensorFile& tensors() { return *tensors_; }
  const std::string& bytes() const { return bytes_; }
  std::string TakeBytes() { return std::move(bytes_); }
  // The version's file that grows, or null. After the last Add.
  std::unique_ptr<GrowingFile> TakeGrowing();
  // Others may have what this file holds: it is refused, and goes as soon as nobody reads it any more. Does not block.
  void GiveBackShare() { options_.share.reset(); }
  // SHA-256 of the whole file. Call once, before Finish.
  std::string Digest();

 private:
  absl::Status WrongSize() const;

  uint64_t size_ = 0;
  std::string bytes_;
  std::optional<TensorReader> reader_;
  std::optional<TensorFile> tensors_;
  Options options_;
};

}  // namespace strata::service
