#include "engine/kernels/panels.h"

#include <cstring>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/kernels/panels.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
// The per-target part.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace strata {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// A tile has 6 rows and one panel's columns: 12 accumulators of 8 lanes, which with two vectors of b and one element of
// a fill AVX2's 16 registers.
using PanelTag = hn::CappedTag<float, 8>;
constexpr int kPanelVectors = static_cast<int>(kPanel / hn::MaxLanes(PanelTag()));
constexpr int64_t kTileRows = 6;

// Rows as tiles of nearly one size.
struct Tiles {
  explicit Tiles(int64_t rows) : count((rows + kTileRows - 1) / kTileRows), rows_(rows / count), more_(rows % count) {}
  int64_t rows(int64_t tile) const { return tile < more_ ? rows_ + 1 : rows_; }

  const int64_t count;

 private:
  const int64_t rows_, more_;  // the first `more_` tiles have a row more
};

// One range of k, at least 1, for one tile: y = max(floor, start + a b).
struct TileStep {
  const float* a;
  int64_t a_row;
  const float* panel;
  const float* start;
  int64_t start_row;
  float* y;
  int64_t y_row, k;
  float floor;
};

template <int kRows>
using TileSums = hn::Vec<PanelTag>[kRows][kPanelVectors];

// One k: b's row of the panel, an element of each of a's rows. A packed a has these side by side.
template <int kRows, bool kPacked>
HWY_INLINE void AddTo(TileSums<kRows>& acc, const float* a, int64_t a_row, const float* b) {
  const PanelTag d;
  hn::Vec<PanelTag> vb[kPanelVectors];
  for (int v = 0; v < kPanelVectors; ++v) vb[v] = hn::LoadU(d, b + v * static_cast<int64_t>(hn::MaxLanes(d)));
  for (int i = 0; i < kRows; ++i) {
    const auto va = hn::Set(d, kPacked ? a[i] : a[i * a_row]);
    for (int v = 0; v < kPanelVectors; ++v) acc[i][v] = hn::MulAdd(va, vb[v], acc[i][v]);
  }
}

template <int kRows, bool kPacked>
void PanelTile(const TileStep& step) {
  const TileStep s = step;
  const PanelTag d;
  constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(d)), kNext = kPacked ? kRows : 1;
  TileSums<kRows> acc;
  for (int i = 0; i < kRows; ++i) {
    // What is read and written at the end, and read two panels on: the rows are too far apart for the hardware to
    // notice.
    __builtin_prefetch(s.start + i * s.start_row);
    __builtin_prefetch(s.start + 2 * kPanel + i * s.start_row, 0, 2);
    __builtin_prefetch(s.y + i * s.y_row, 1);
    for (int v = 0; v < kPanelVectors; ++v) acc[i][v] = hn::Zero(d);
  }
  // Unrolled: the loop's own instructions are worth a sixth of the rate where another thread has half of the core.
  const float *a = s.a, *b = s.panel;
  if (s.k < 1) __builtin_unreachable();  // or the compiler keeps the sums in memory, for want of a loop
#pragma GCC unroll 4
  for (int64_t p = 0; p < s.k; ++p, a += kNext, b += kPanel) AddTo<kRows, kPacked>(acc, a, s.a_row, b);
  // Of two operands of which one is NaN, x86's maximum is the second: a NaN stays.
  const auto floor = hn::Set(d, s.floor);
  for (int i = 0; i < kRows; ++i) {
    for (int v = 0; v < kPanelVectors; ++v) {
      const auto y = hn::Add(acc[i][v], hn::LoadU(d, s.start + i * s.start_row + v * kLanes));
      hn::StoreU(hn::Max(floor, y), d, s.y + i * s.y_row + v * kLanes);
    }
  }
}

template <bool kPacked>
void RunTile(int64_t rows, const TileStep& s) {
  static constexpr void (*kTiles[])(const TileStep&) = {PanelTile<1, kPacked>, PanelTile<2, kPacked>,
                                                        PanelTile<3, kPacked>, PanelTile<4, kPacked>,
                                                        PanelTile<5, kPacked>, PanelTile<6, kPacked>};
  kTiles[rows - 1](s);
}

// A tile of the last, narrower panel: whole in memory of its own.
template <bool kPacked>
void RunNarrowTile(int64_t rows, int64_t columns, const TileStep& s) {
  float y[kTileRows * kPanel] = {};
  const size_t bytes = static_cast<size_t>(columns) * sizeof(float);
  for (int64_t i = 0; i < rows; ++i) std::memcpy(y + i * kPanel, s.start + i * s.start_row, bytes);
  TileStep whole = s;
  whole.start = whole.y = y;
  whole.start_row = whole.y_row = kPanel;
  RunTile<kPacked>(rows, whole);
  for (int64_t i = 0; i < rows; ++i) std::memcpy(s.y + i * s.y_row, y + i * kPanel, bytes);
}

// `block` points to the first row, column and panel; tiles of packed rows follow each other, columns of `start` are
// start_column apart.
template <bool kPacked>
void MultiplyBlock(const TileStep& block, int64_t rows, int64_t columns, int64_t panel_step, int64_t start_column) {
  const Tiles tiles(rows);
  const int64_t fetched = (block.k + tiles.count - 1) / tiles.count;
  for (int64_t j = 0; j < columns; j += kPanel) {
    TileStep s = block;
    s.panel += j / kPanel * panel_step;
    s.start += j * start_column;
    s.y += j;
    const float* next = s.panel + panel_step;
    for (int64_t t = 0; t < tiles.count; ++t) {
      const int64_t count = tiles.rows(t);
      // A part of the next panel: a large b does not stay in the second-level cache.
      if (columns - j > kPanel) {
        for (int64_t at = 0; at < fetched; ++at, next += kPanel) __builtin_prefetch(next, 0, 2);
      }
      if (columns - j >= kPanel) {
        RunTile<kPacked>(count, s);
      } else {
        RunNarrowTile<kPacked>(count, columns - j, s);
      }
      s.a += count * (kPacked ? s.k : s.a_row);
      s.start += count * s.start_row;
      s.y += count * s.y_row;
    }
  }
}

// Rows of an operand that are read side by side: where they are a power of two apart, a way of the cache for each.
constexpr int64_t kRun = 8;

// Rows of a transposed a: tile by tile, each [k, rows of the tile].
void PackRows(const float* a, int64_t a_column, int64_t rows, int64_t k, float* to) {
  const hn::CappedTag<float, 4> d4;
  const hn::CappedTag<float, 2> d2;
  const Tiles tiles(rows);
  for (int64_t first = 0; first < k; first += kRun) {
    const int64_t last = std::min(k, first + kRun);
    const float* run = a + first * a_column;
    float* tile = to;
    for (int64_t t = 0; t < tiles.count; ++t) {
      const int64_t count = tiles.rows(t);
      const float* from = run;
      float* row = tile + first * count;
      for (int64_t p = first; p < last; ++p, row += count, from += a_column) {
        __builtin_prefetch(from + 2 * kRun * a_column);
        if (count == kTileRows) {
          hn::StoreU(hn::LoadU(d4, from), d4, row);
          hn::StoreU(hn::LoadU(d2, from + 4), d2, row + 4);
        } else {
          for (int64_t c = 0; c < count; ++c) row[c] = from[c];
        }
      }
      run += count;
      tile += count * k;
    }
  }
}

void MultiplyPanels(const PanelProduct& g) {
  static constexpr float kZeros[kPanel] = {};
  const bool packed = g.a_column != 1;
  for (int64_t row = 0; row < g.m; row += kPanelRows) {
    const int64_t rows = std::min(kPanelRows, g.m - row);
    for (int64_t p = 0; p < g.k; p += kPanelDepth) {
      const int64_t k = std::min(kPanelDepth, g.k - p);
      const float* a = g.a + row * g.a_row + p * g.a_column;
      if (packed) PackRows(a, g.a_column, rows, k, g.rows);
      float* const y = g.y + row * g.y_row;
      const bool first = p == 0, adds = !first || g.start != nullptr;
      const TileStep block{packed ? g.rows : a,
                           g.a_row,
                           g.panels + p * kPanel,
                           !first ? y
                           : adds ? g.start + row * g.start_row
                                  : kZeros,
                           !first ? g.y_row
                           : adds ? g.start_row
                                  : 0,
                           y,
                           g.y_row,
                           k,
                           g.relu && p + k == g.k ? 0.0f : -std::numeric_limits<float>::infinity()};
      if (packed) {
        MultiplyBlock<true>(block, rows, g.n, g.k * kPanel, adds ? 1 : 0);
      } else {
        MultiplyBlock<false>(block, rows, g.n, g.k * kPanel, adds ? 1 : 0);
      }
    }
  }
}

void PackPanels(const PanelSource& s, int64_t from, int64_t to, float* panels) {
  for (int64_t first = 0; first < s.k; first += kRun) {
    const int64_t last = std::min(s.k, first + kRun);
    for (int64_t j = from; j < to; j += kPanel) {
      const int64_t columns = std::min(kPanel, s.n - j);
      float* panel = panels + j * s.k;
      if (columns < kPanel) {
        std::memset(panel + first * kPanel, 0, static_cast<size_t>((last - first) * kPanel) * sizeof(float));
      }
      if (s.column != 1) {
        for (int64_t c = 0; c < columns; ++c) {
          const float* b = s.b + (j + c) * s.column;
          for (int64_t p = first; p < last; ++p) panel[p * kPanel + c] = b[p];
        }
      } else if (columns == kPanel) {
        for (int64_t p = first; p < last; ++p) {
          std::memcpy(panel + p * kPanel, s.b + p * s.row + j, kPanel * sizeof(float));
        }
      } else {
        for (int64_t p = first; p < last; ++p) {
          for (int64_t c = 0; c < columns; ++c) panel[p * kPanel + c] = s.b[p * s.row + j + c];
        }
      }
    }
  }
}

PanelOps ChoosePanelOps() { return {&PackPanels, &MultiplyPanels}; }

}  // namespace HWY_NAMESPACE
}  // namespace strata
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace strata {
HWY_EXPORT(ChoosePanelOps);
PanelOps GetPanelOps() { return HWY_DYNAMIC_DISPATCH(ChoosePanelOps)(); }
}  // namespace strata
#endif
