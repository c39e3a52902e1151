#include "engine/plan/arena.h"

#include <algorithm>
#include <numeric>

namespace strata {

int64_t AssignOffsets(std::vector<Buffer>* buffers, bool reuse) {
  constexpr int64_t kAlign = 64;
  std::vector<size_t> order(buffers->size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return (*buffers)[a].bytes > (*buffers)[b].bytes; });
  int64_t arena = 0;
  std::vector<const Buffer*> placed;  // by offset
  for (size_t i : order) {
    Buffer& b = (*buffers)[i];
    const int64_t bytes = (std::max<int64_t>(b.bytes, 1) + kAlign - 1) / kAlign * kAlign;
    int64_t offset = 0;
    for (const Buffer* p : placed) {
      const bool together = !reuse || (p->first <= b.last && b.first <= p->last);
      if (!together) continue;
      if (offset + bytes <= p->offset) break;
      offset = std::max(offset, (p->offset + std::max<int64_t>(p->bytes, 1) + kAlign - 1) / kAlign * kAlign);
    }
    b.offset = offset;
    arena = std::max(arena, offset + bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), &b,
                                   [](const Buffer* x, const Buffer* y) { return x->offset < y->offset; }),
                  &b);
  }
  return arena;
}

}  // namespace strata
