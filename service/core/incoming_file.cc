#include "service/core/incoming_file.h"

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/core/file_kinds.h"
#include "service/store/files.h"

namespace strata::service {
namespace {

// Bytes that tell safetensors from everything else.
constexpr size_t kEnough = 9;

}  // namespace

absl::Status IncomingFile::Add(absl::string_view bytes) {
  size_ += bytes.size();
  if (size_ > max_bytes_) return InvalidArgument("size: must be at most ", max_bytes_, " bytes, got ", size_);
  if (reader_.has_value()) return reader_->Add(bytes);
  const bool undecided = bytes_.size() < kEnough;
  if (bytes_.empty() && announced_ > 0 && !LooksLikeTensors(bytes, announced_)) bytes_.reserve(announced_);
  bytes_.append(bytes.data(), bytes.size());
  // Nothing is allocated for what a header claims beyond a size that was announced, and checked.
  if (announced_ == 0 || !undecided || bytes_.size() < kEnough || !LooksLikeTensors(bytes_, announced_)) {
    return absl::OkStatus();
  }
  reader_.emplace(announced_, max_bytes_, growing_.get());
  const std::string first = std::move(bytes_);
  bytes_.clear();
  return reader_->Add(first);
}

absl::Status IncomingFile::Finish() {
  if (announced_ > 0 && announced_ != size_) {
    return absl::DataLossError(absl::StrCat("size: must be that of the chunks, ", size_, ", got ", announced_));
  }
  if (reader_.has_value()) {
    STRATA_ASSIGN_OR_RETURN(tensors_, reader_->Finish());
  } else if (LooksLikeTensors(bytes_, size_)) {
    STRATA_ASSIGN_OR_RETURN(tensors_, ParseTensors(bytes_));
    bytes_ = {};
  }
  return absl::OkStatus();
}

std::unique_ptr<GrowingFile> IncomingFile::TakeGrowing() {
  if (growing_ == nullptr || !growing_->Written()) growing_.reset();
  return std::move(growing_);
}

std::string IncomingFile::Digest() const { return reader_.has_value() ? reader_->Digest() : Sha256Hex(bytes_); }

}  // namespace strata::service
