#include "service/core/incoming_file.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/core/file_kinds.h"
#include "service/store/files.h"

namespace strata::service {
namespace {

// Bytes that tell safetensors from everything else.
constexpr size_t kEnough = 9;
// A longer header takes its time to parse: not on the thread that takes the bytes.
constexpr uint64_t kShortHeaderBytes = uint64_t{1} << 20;

bool HasShortHeader(absl::string_view start) {
  uint64_t header = 0;
  std::memcpy(&header, start.data(), sizeof(header));
  return header <= kShortHeaderBytes;
}

}  // namespace

absl::Status IncomingFile::Add(absl::string_view bytes) {
  const uint64_t announced = options_.announced;
  size_ += bytes.size();
  if (size_ > options_.max_bytes) {
    return InvalidArgument("size: must be at most ", options_.max_bytes, " bytes, got ", size_);
  }
  if (announced > 0 && size_ > announced) return WrongSize();
  if (options_.share != nullptr) STRATA_RETURN_IF_ERROR(options_.share->Reach(size_));
  if (reader_.has_value()) return reader_->Add(bytes);
  const bool decided = bytes_.size() >= kEnough;
  bytes_.append(bytes.data(), bytes.size());
  if (decided || announced == 0 || bytes_.size() < kEnough) return absl::OkStatus();
  if (!LooksLikeTensors(bytes_, announced) || !HasShortHeader(bytes_)) {
    bytes_.reserve(announced);
    return absl::OkStatus();
  }
  // Nothing is allocated for what a header claims beyond a size that was announced, and checked.
  reader_.emplace(announced, options_.max_bytes, options_.growing.get(), options_.digest_due);
  const std::string first = std::move(bytes_);
  bytes_.clear();
  return reader_->Add(first);
}

absl::Status IncomingFile::WrongSize() const {
  return absl::DataLossError(absl::StrCat("size: must be that of the chunks, ", size_, ", got ", options_.announced));
}

absl::Status IncomingFile::Finish() {
  if (options_.announced > 0 && options_.announced != size_) return WrongSize();
  if (reader_.has_value()) {
    STRATA_ASSIGN_OR_RETURN(tensors_, reader_->Finish());
  } else if (LooksLikeTensors(bytes_, size_)) {
    STRATA_ASSIGN_OR_RETURN(tensors_, ParseTensors(bytes_));
    bytes_ = {};
  }
  return absl::OkStatus();
}

std::unique_ptr<GrowingFile> IncomingFile::TakeGrowing() {
  if (options_.growing != nullptr) options_.growing->End();
  return std::move(options_.growing);
}

std::string IncomingFile::Digest() { return reader_.has_value() ? reader_->Digest() : Sha256Hex(bytes_); }

}  // namespace strata::service
