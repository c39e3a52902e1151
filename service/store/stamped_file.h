// The one way in which a file of the store is written: from its first byte to its last, hashed meanwhile, then fsynced.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/background_hash.h"
#include "service/store/files.h"

namespace strata::service {

// Thread-compatible.
class StampedFile {
 public:
  // Makes the file at `path`, or empties the one that is there. Errors call it `name`.
  StampedFile(const std::string& path, std::string name);

  // The bytes stay where they are, unchanged, until Finish or the destructor returns.
  absl::Status Add(absl::string_view bytes);
  // Waits until the file is durable, under its path. Nothing is added afterwards.
  absl::StatusOr<FileStamp> Finish();

 private:
  absl::Status Write(const char* data, size_t size);
  // From now on through the page cache.
  absl::Status WriteBuffered();

  struct Free {
    void operator()(char* p) const { std::free(p); }
  };

  const std::string name_;
  const Fd fd_;
  const int open_error_;
  // Bytes past the file's last whole block, with room for a large write.
  std::unique_ptr<char, Free> block_;
  size_t filled_ = 0;
  bool direct_;  // past the page cache: its pages would cost more than the disk does
  uint64_t bytes_ = 0;
  BackgroundHash hash_;
};

}  // namespace strata::service
