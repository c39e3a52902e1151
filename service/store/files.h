// Files that survive a crash: temporary name, fsync, rename, fsync of the directory. A file's name is visible only when
// its bytes are durable. Errors name files relative to the data directory only.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "service/store/safetensors.h"

namespace strata::service {

// Owns a file descriptor; closes it.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.Release()) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd();
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  int Release();

 private:
  int fd_;
};

// The status of a system call that failed just now: `what` it did to the file `name`.
absl::Status IoError(absl::string_view what, absl::string_view name);
// Writes all of it, whatever the kernel takes at a time. False: errno says why not.
bool WriteAll(int fd, const char* data, size_t size);

// What the registry keeps about a file.
struct FileStamp {
  std::string digest;  // SHA-256, hexadecimal
  uint64_t bytes = 0;
};

std::string Sha256Hex(absl::string_view bytes);

class GrowingFile;
struct GrowingPlan;

// The directory that one server owns. Thread-safe: each file has one writer.
class DataDir {
 public:
  // Creates the directory and its folders, and locks it. FAILED_PRECONDITION if another process holds the lock.
  static absl::StatusOr<std::unique_ptr<DataDir>> Open(const std::string& path);

  const std::string& path() const { return path_; }

  // Durable when it returns. On error no file of that name is new.
  absl::StatusOr<FileStamp> WriteTensors(const std::string& name, const NamedViews& tensors,
                                         const Metadata& metadata) const;

  // A file that is written while its tensors arrive, under a name that goes with it.
  std::unique_ptr<GrowingFile> Grow(std::function<std::optional<GrowingPlan>(const TensorHeader&)> planner) const;
  // Gives it its name. As WriteTensors.
  absl::StatusOr<FileStamp> Adopt(GrowingFile* file, const std::string& name) const;

  // DATA_LOSS if the file is missing, differs from its stamp or breaks a rule of the format; it is then renamed to
  // *.broken.
  absl::StatusOr<TensorFile> ReadTensors(const std::string& name, const FileStamp& stamp) const;

  void Remove(const std::string& name) const;

  // Deletes temporary files of a crashed process, and files in `folder` that are not in `known`.
  void Sweep(const std::string& folder, const std::vector<std::string>& known) const;

 private:
  DataDir(std::string path, Fd lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  absl::StatusOr<TensorFile> ReadChecked(const std::string& name, const FileStamp& stamp) const;

  const std::string path_;
  const Fd lock_;
  mutable std::atomic<int64_t> next_growing_{0};
};

}  // namespace strata::service
