#include "service/store/stamped_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/base/status.h"

namespace strata::service {
namespace {

// What disks take past the page cache: offsets, sizes and addresses are multiples of this.
constexpr size_t kAlignment = 4096;
// Of one write.
constexpr size_t kBlockBytes = size_t{1} << 20;

int Open(const std::string& path, int more) {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | more, 0644);
}

// Some file systems know no direct writes.
int OpenDirect(const std::string& path) {
  const int fd = Open(path, O_DIRECT);
  return fd < 0 && errno == EINVAL ? Open(path, 0) : fd;
}

}  // namespace

StampedFile::StampedFile(const std::string& path, std::string name)
    : name_(std::move(name)),
      fd_(OpenDirect(path)),
      open_error_(fd_.ok() ? 0 : errno),
      block_(static_cast<char*>(std::aligned_alloc(kAlignment, kBlockBytes))),
      direct_(fd_.ok() && (::fcntl(fd_.get(), F_GETFL) & O_DIRECT) != 0) {
  STRATA_CHECK(block_ != nullptr);
}

absl::Status StampedFile::Add(absl::string_view bytes) {
  if (!fd_.ok()) {
    errno = open_error_;
    return IoError("creating", name_);
  }
  hash_.Add(bytes);
  bytes_ += bytes.size();
  while (!bytes.empty()) {
    const size_t some = std::min(bytes.size(), kBlockBytes - filled_);
    std::memcpy(block_.get() + filled_, bytes.data(), some);
    filled_ += some;
    bytes.remove_prefix(some);
    if (filled_ < kBlockBytes) break;
    STRATA_RETURN_IF_ERROR(Write(block_.get(), kBlockBytes));
    filled_ = 0;
  }
  return absl::OkStatus();
}

absl::Status StampedFile::Write(const char* data, size_t size) {
  if (WriteAll(fd_.get(), data, size)) return absl::OkStatus();
  if (!direct_ || errno != EINVAL) return IoError("writing", name_);
  // It took the flag, but does not take the writes.
  STRATA_RETURN_IF_ERROR(WriteBuffered());
  return WriteAll(fd_.get(), data, size) ? absl::OkStatus() : IoError("writing", name_);
}

absl::Status StampedFile::WriteBuffered() {
  direct_ = false;
  const int flags = ::fcntl(fd_.get(), F_GETFL);
  return ::fcntl(fd_.get(), F_SETFL, flags & ~O_DIRECT) == 0 ? absl::OkStatus() : IoError("writing", name_);
}

absl::StatusOr<FileStamp> StampedFile::Finish() {
  if (!fd_.ok()) {
    errno = open_error_;
    return IoError("creating", name_);
  }
  // The last block is no whole one.
  if (direct_) STRATA_RETURN_IF_ERROR(WriteBuffered());
  STRATA_RETURN_IF_ERROR(Write(block_.get(), filled_));
  // A failed fsync may have dropped pages: the file is written anew by the next attempt, never fsynced again.
  if (::fsync(fd_.get()) != 0) return IoError("fsync of", name_);
  return FileStamp{.digest = hash_.Hex(), .bytes = bytes_};
}

}  // namespace strata::service
