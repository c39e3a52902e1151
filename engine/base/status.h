// The status macros that Abseil 20220623 lacks, and the check for our own bugs.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

#define STRATA_CONCAT_INNER(a, b) a##b
#define STRATA_CONCAT(a, b) STRATA_CONCAT_INNER(a, b)

#define STRATA_RETURN_IF_ERROR(expr)                   \
  do {                                                 \
    if (absl::Status s_ = (expr); !s_.ok()) return s_; \
  } while (0)

#define STRATA_ASSIGN_OR_RETURN(lhs, expr) STRATA_ASSIGN_IMPL(STRATA_CONCAT(so_, __LINE__), lhs, expr)
#define STRATA_ASSIGN_IMPL(tmp, lhs, expr)       \
  auto tmp = (expr);                             \
  if (!tmp.ok()) return std::move(tmp).status(); \
  lhs = *std::move(tmp)

// Aborts with the place and the condition. For our own bugs only, never for what a client, a file or a caller can
// cause.
#define STRATA_CHECK(cond)                                                          \
  do {                                                                              \
    if (!(cond)) [[unlikely]] {                                                     \
      std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #cond); \
      std::abort();                                                                 \
    }                                                                               \
  } while (0)

namespace strata {

// INVALID_ARGUMENT worded from its parts: InvalidArgument("layers[2].units", ": must be >= 1, got ", 0).
template <typename... Args>
absl::Status InvalidArgument(const Args&... args) {
  return absl::InvalidArgumentError(absl::StrCat(args...));
}

}  // namespace strata
