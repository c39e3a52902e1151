#include "service/store/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/background_hash.h"
#include "engine/base/sha256.h"
#include "engine/base/status.h"
#include "service/store/growing_file.h"
#include "service/store/stamped_file.h"

namespace strata::service {
namespace {

constexpr absl::string_view kTemporary = ".tmp";

bool ReadAll(int fd, char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = ::read(fd, data, std::min(size, size_t{1} << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

absl::Status SyncFolder(const std::string& path) {
  const Fd dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir.ok() || ::fsync(dir.get()) != 0) return IoError("fsync of", "a folder");
  return absl::OkStatus();
}

std::string Parent(const std::string& path) { return path.substr(0, path.rfind('/')); }

absl::StatusOr<FileStamp> WriteTemporary(const std::string& path, const std::string& name, const NamedViews& tensors,
                                         const Metadata& metadata) {
  std::vector<std::string> order;
  const std::string prefix = TensorFilePrefix(tensors, metadata, &order);
  StampedFile file(path, name);
  STRATA_RETURN_IF_ERROR(file.Add(prefix));
  for (const std::string& tensor : order) {
    const TensorView& t = tensors.at(tensor);
    STRATA_RETURN_IF_ERROR(file.Add({static_cast<const char*>(t.data), t.size_bytes()}));
  }
  return file.Finish();
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}
Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}
int Fd::Release() {
  const int fd = fd_;
  fd_ = -1;
  return fd;
}

absl::Status IoError(absl::string_view what, absl::string_view name) {
  const int error = errno;
  const std::string text = absl::StrCat("store: ", what, " ", name, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) return absl::ResourceExhaustedError(text);
  return absl::InternalError(text);
}

bool WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(fd, data, std::min(size, size_t{1} << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

std::string Sha256Hex(absl::string_view bytes) {
  Sha256 hash;
  hash.Add(bytes.data(), bytes.size());
  return hash.Hex();
}

absl::StatusOr<std::unique_ptr<DataDir>> DataDir::Open(const std::string& path) {
  if (path.empty()) return InvalidArgument("data_dir: must be given, got nothing");
  for (const std::string& dir : {path, path + "/checkpoints", path + "/versions"}) {
    if (::mkdir(dir.c_str(), 0750) != 0 && errno != EEXIST) {
      return absl::FailedPreconditionError(absl::StrCat("data_dir: cannot create ", dir, ": ", std::strerror(errno)));
    }
  }
  Fd lock(::open((path + "/LOCK").c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640));
  if (!lock.ok())
    return absl::FailedPreconditionError(absl::StrCat("data_dir: cannot write in ", path, ": ", std::strerror(errno)));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(absl::StrCat("data_dir: ", path, " is in use by another strata-server"));
  }
  STRATA_RETURN_IF_ERROR(SyncFolder(path));
  return std::unique_ptr<DataDir>(new DataDir(path, std::move(lock)));
}

absl::StatusOr<FileStamp> DataDir::WriteTensors(const std::string& name, const NamedViews& tensors,
                                                const Metadata& metadata) const {
  const std::string path = absl::StrCat(path_, "/", name);
  const std::string temporary = absl::StrCat(path, kTemporary);
  absl::StatusOr<FileStamp> stamp = WriteTemporary(temporary, name, tensors, metadata);
  if (stamp.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) stamp = IoError("renaming", name);
  if (!stamp.ok()) {
    ::unlink(temporary.c_str());
    return stamp;
  }
  STRATA_RETURN_IF_ERROR(SyncFolder(Parent(path)));
  return stamp;
}

std::unique_ptr<GrowingFile> DataDir::Grow(GrowingFile::Planner planner) const {
  return std::make_unique<GrowingFile>(absl::StrCat(path_, "/versions/arriving-", next_growing_++, kTemporary),
                                       std::move(planner));
}

absl::StatusOr<FileStamp> DataDir::Adopt(GrowingFile* file, const std::string& name) const {
  STRATA_ASSIGN_OR_RETURN(const FileStamp stamp, file->Finish());
  const std::string path = absl::StrCat(path_, "/", name);
  if (::rename(file->path().c_str(), path.c_str()) != 0) return IoError("renaming", name);
  STRATA_RETURN_IF_ERROR(SyncFolder(Parent(path)));
  return stamp;
}

absl::StatusOr<TensorFile> DataDir::ReadChecked(const std::string& name, const FileStamp& stamp) const {
  const auto broken = [&](absl::string_view why) {
    return absl::DataLossError(absl::StrCat("store: ", name, ": ", why));
  };
  const Fd fd(::open(absl::StrCat(path_, "/", name).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.ok()) {
    if (errno == ENOENT || errno == ELOOP) return broken("the file is missing");
    return IoError("opening", name);
  }
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return IoError("reading", name);
  if (!S_ISREG(info.st_mode)) return broken("not a regular file");
  const uint64_t bytes = static_cast<uint64_t>(info.st_size);
  if (bytes != stamp.bytes) return broken(absl::StrCat("has ", bytes, " bytes, must have ", stamp.bytes));

  uint64_t header_bytes = 0;
  if (bytes < 8 || !ReadAll(fd.get(), reinterpret_cast<char*>(&header_bytes), 8)) return broken("cannot be read");
  if (header_bytes > kMaxHeaderBytes || header_bytes > bytes - 8) return broken("bad header length");
  std::string text(header_bytes, '\0');
  if (!ReadAll(fd.get(), text.data(), header_bytes)) return broken("cannot be read");
  absl::StatusOr<TensorHeader> header = ParseTensorHeader(text, bytes - 8 - header_bytes);
  // We wrote the file: whatever the header breaks, it is damage.
  if (!header.ok()) return broken(header.status().message());
  TensorFile file{.metadata = std::move(header->metadata)};
  BackgroundHash hash(absl::string_view(reinterpret_cast<const char*>(&header_bytes), 8));
  hash.Add(text);
  for (const TensorEntry& e : header->entries) {
    Tensor tensor(e.dtype, e.shape);
    if (!ReadAll(fd.get(), static_cast<char*>(tensor.raw()), e.end - e.begin)) return broken("cannot be read");
    hash.Add({static_cast<const char*>(tensor.raw()), e.end - e.begin});
    file.tensors.emplace(e.name, std::move(tensor));
  }
  if (hash.Hex() != stamp.digest) return broken("SHA-256 differs");
  return file;
}

absl::StatusOr<TensorFile> DataDir::ReadTensors(const std::string& name, const FileStamp& stamp) const {
  absl::StatusOr<TensorFile> file = ReadChecked(name, stamp);
  if (absl::IsDataLoss(file.status())) {
    const std::string path = absl::StrCat(path_, "/", name);
    ::rename(path.c_str(), absl::StrCat(path, ".broken").c_str());
    std::fprintf(stderr, "error: %s (kept as %s.broken)\n", std::string(file.status().message()).c_str(), name.c_str());
  }
  return file;
}

void DataDir::Remove(const std::string& name) const { ::unlink(absl::StrCat(path_, "/", name).c_str()); }

void DataDir::Sweep(const std::string& folder, const std::vector<std::string>& known) const {
  DIR* dir = ::opendir(absl::StrCat(path_, "/", folder).c_str());
  if (dir == nullptr) return;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string name = absl::StrCat(folder, "/", entry->d_name);
    const bool ours = absl::EndsWith(name, kTemporary) || absl::EndsWith(name, ".safetensors");
    if (ours && std::find(known.begin(), known.end(), name) == known.end()) Remove(name);
  }
  ::closedir(dir);
}

}  // namespace strata::service
