#include "service/store/tensor_reader.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "engine/base/sha256.h"
#include "engine/base/status.h"

namespace strata::service {

absl::Status TensorReader::Begin() {
  std::memcpy(&head_bytes_, head_.data(), 8);
  if (head_bytes_ > kMaxHeaderBytes) return absl::DataLossError("safetensors: header too large");
  head_bytes_ += 8;
  if (file_bytes_ > 0 && head_bytes_ > file_bytes_) {
    return absl::DataLossError("safetensors: header longer than the file");
  }
  return absl::OkStatus();
}

absl::Status TensorReader::Add(absl::string_view bytes) {
  while (!begun_ && !bytes.empty()) {
    const size_t some = std::min<size_t>(bytes.size(), head_bytes_ - head_.size());
    head_.append(bytes.data(), some);
    bytes.remove_prefix(some);
    if (head_.size() < head_bytes_) return absl::OkStatus();
    if (head_bytes_ == 8) STRATA_RETURN_IF_ERROR(Begin());
    if (head_.size() < head_bytes_) continue;
    const uint64_t data = file_bytes_ > 0 ? file_bytes_ - head_bytes_ : kAnySize;
    STRATA_ASSIGN_OR_RETURN(header_, ParseTensorHeader(absl::string_view(head_).substr(8), data));
    if (!header_.entries.empty() && header_.entries.back().end > max_bytes_) {
      return InvalidArgument("size: must be at most ", max_bytes_, " bytes, got ", header_.entries.back().end);
    }
    begun_ = true;
    if (follower_ != nullptr) follower_->Begin(header_);
    if (hashes_) hash_ = std::make_unique<BackgroundHash>(head_);
  }
  while (begun_) {
    if (next_ == header_.entries.size()) {
      if (!bytes.empty()) return absl::DataLossError("safetensors: bytes behind the last tensor");
      return absl::OkStatus();
    }
    const TensorEntry& e = header_.entries[next_];
    if (tensors_.size() == next_) tensors_.push_back(Tensor(e.dtype, e.shape));
    const size_t some = std::min<size_t>(bytes.size(), e.end - e.begin - filled_);
    char* const place = static_cast<char*>(tensors_[next_].raw()) + filled_;
    if (some > 0) std::memcpy(place, bytes.data(), some);
    bytes.remove_prefix(some);
    filled_ += some;
    if (some > 0 && follower_ != nullptr) follower_->Grown(next_, tensors_[next_], filled_);
    if (hash_ != nullptr) hash_->Add({place, some});
    if (filled_ < e.end - e.begin) return absl::OkStatus();
    ++next_;
    filled_ = 0;
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorFile> TensorReader::Finish() {
  hash_.reset();
  if (!begun_ || next_ < header_.entries.size()) {
    return absl::DataLossError(head_.size() < 8 ? "safetensors: shorter than 8 bytes"
                               : !begun_        ? "safetensors: header longer than the file"
                                                : "safetensors: the file ends before its last tensor does");
  }
  TensorFile file{.metadata = std::move(header_.metadata)};
  for (size_t i = 0; i < header_.entries.size(); ++i) {
    file.tensors.emplace(header_.entries[i].name, std::move(tensors_[i]));
  }
  return file;
}

std::string TensorReader::Digest() {
  if (hash_ != nullptr) return hash_->Hex();
  Sha256 hash;
  hash.Add(head_.data(), head_.size());
  for (const Tensor& t : tensors_) hash.Add(t.raw(), t.size_bytes());
  return hash.Hex();
}

}  // namespace strata::service
