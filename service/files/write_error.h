// Errors of writing in the file tool. A full disk is nobody's broken file: it has a code of its own, UNAVAILABLE, and
// an exit code, since there may be no room for words either.
#pragma once

#include <cerrno>
#include <string>

#include "absl/status/status.h"

namespace strata::service {

inline constexpr int kNoRoomExit = 3;

// After a write failed; errno is its.
inline absl::Status WriteError(const std::string& what) {
  if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) return absl::UnavailableError("file: no room on the disk");
  return absl::InternalError(what);
}

}  // namespace strata::service
