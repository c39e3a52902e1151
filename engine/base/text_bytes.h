// Texts as they travel in tensors of type BYTES: four bytes of length, the lowest first, before each.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace strata {

inline void AppendText(absl::string_view text, std::string* bytes) {
  for (int shift = 0; shift < 32; shift += 8) bytes->push_back(static_cast<char>(text.size() >> shift));
  bytes->append(text.data(), text.size());
}

}  // namespace strata
