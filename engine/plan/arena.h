// Assigns byte ranges of one arena to buffers that live from step to step.
#pragma once

#include <cstdint>
#include <vector>

namespace strata {

struct Buffer {
  int64_t bytes = 0;
  int32_t first = 0;  // step that writes it
  int32_t last = 0;   // last step that touches it
  int64_t offset = -1;
};

// Sets offsets (multiples of 64) so that buffers which live at the same time do not overlap; returns the arena's size.
// Largest first, each at the lowest offset that fits.
int64_t AssignOffsets(std::vector<Buffer>* buffers, bool reuse);

}  // namespace strata
