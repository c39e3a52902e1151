// NAME@WHICH: a version of something that has a name.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_split.h"
#include "engine/base/status.h"

namespace strata::cli {

struct Reference {
  std::string name;
  std::string which;  // empty: nothing was said
};

// `path` is what the command calls the argument, `forms` what it may be: "NAME or NAME@VERSION".
inline absl::StatusOr<Reference> ParseReference(const std::string& path, const std::string& forms,
                                                const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '@');
  const bool good = !parts[0].empty() && (parts.size() == 1 || (parts.size() == 2 && !parts[1].empty()));
  if (!good) return InvalidArgument(path, ": must be ", forms, ", got \"", text, "\"");
  return Reference{parts[0], parts.size() == 2 ? parts[1] : ""};
}

}  // namespace strata::cli
