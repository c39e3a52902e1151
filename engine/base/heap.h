// How malloc treats memory that is freed.
#pragma once

#include <malloc.h>

namespace strata {

// For programs through which messages of about a megabyte go one after the other: their memory is kept for the next
// one. By default malloc gives it back to the kernel and takes it again, page by page, which costs more than what the
// messages are for.
inline void KeepFreedMemory() {
  constexpr int kMapped = 4 << 20, kKept = 64 << 20;
  mallopt(M_MMAP_THRESHOLD, kMapped);
  mallopt(M_TRIM_THRESHOLD, kKept);
}

}  // namespace strata
