// Safetensors files that arrive in pieces.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/background_hash.h"
#include "service/store/growing_file.h"
#include "service/store/safetensors.h"

namespace strata::service {

// Takes a file as it comes and puts every tensor's bytes where they belong: the file itself is never in memory.
// Thread-compatible.
class TensorReader {
 public:
  // `file_bytes` is 0 if it is not known; otherwise a header that does not fit it is refused before anything is
  // allocated. Tensors of more than `max_bytes` together are refused.
  // `follower`, if given, learns what arrives as it does; it lives as long as the reader takes bytes. With `hashes` the
  // file is hashed while it arrives, and not when its digest is asked for.
  TensorReader(uint64_t file_bytes, uint64_t max_bytes, GrowingFile* follower = nullptr, bool hashes = false)
      : file_bytes_(file_bytes), max_bytes_(max_bytes), follower_(follower), hashes_(hashes) {}

  // Errors as ParseTensors'. After one the reader takes nothing more.
  absl::Status Add(absl::string_view bytes);
  // DATA_LOSS if bytes are missing.
  absl::StatusOr<TensorFile> Finish();
  // SHA-256 of the file. Call once, before Finish.
  std::string Digest();

 private:
  absl::Status Begin();

  const uint64_t file_bytes_, max_bytes_;
  GrowingFile* const follower_;
  const bool hashes_;
  std::string head_;  // length and header
  uint64_t head_bytes_ = 8;
  bool begun_ = false;
  TensorHeader header_;
  size_t next_ = 0;                       // entry that takes the next byte
  uint64_t filled_ = 0;                   // bytes of it that are there
  std::vector<Tensor> tensors_;           // of the entries before and at `next_`
  std::unique_ptr<BackgroundHash> hash_;  // reads the tensors: goes first
};

}  // namespace strata::service
