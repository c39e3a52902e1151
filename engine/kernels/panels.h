// Matrix products over panels. b is brought to panels of 16 columns, each [k, 16], the last one filled up with zeros:
// the inner loop reads one stream, whatever b's strides are. Elements are summed by ranges of k that start at
// multiples of kPanelDepth, in order, so that how a product is cut changes no bit of it.
#pragma once

#include <algorithm>
#include <cstdint>

namespace strata {

inline constexpr int64_t kPanel = 16;        // columns
inline constexpr int64_t kPanelRows = 96;    // rows of a that are taken through all panels together
inline constexpr int64_t kPanelDepth = 256;  // of k at a time

// Floats of n columns as panels.
inline int64_t PanelsSize(int64_t k, int64_t n) { return (n + kPanel - 1) / kPanel * kPanel * k; }

// Floats that a product whose a is transposed needs to copy it to.
inline int64_t PanelRowsSize(int64_t m, int64_t k) { return std::min(m, kPanelRows) * std::min(k, kPanelDepth); }

// Element (p, j) of b is b[p * row + j * column], with one of the two strides 1.
struct PanelSource {
  const float* b;
  int64_t row, column;
  int64_t k, n;
};

// y[m, n] = start[m, n] + a[m, k] b[k, n], k at least 1 (then max(0, .); a NaN stays). Element (i, p) of a is a[i *
// a_row + p * a_column], with one of the two strides 1; rows of y are y_row apart, rows of `start` start_row (0: a
// bias).
struct PanelProduct {
  const float* a;
  const float* panels;
  const float* start;  // may be null, and may be y
  float* y;
  float* rows;  // PanelRowsSize() floats if a_column is not 1
  int64_t m, k, n;
  int64_t a_row, a_column, start_row, y_row;
  bool relu;
};

struct PanelOps {
  // Writes the panels of columns [from, to) of b, of which the first is the start of a panel, to their places.
  void (*pack)(const PanelSource& source, int64_t from, int64_t to, float* panels);
  void (*multiply)(const PanelProduct& product);
};

PanelOps GetPanelOps();

}  // namespace strata
