// What convolution and pooling share: axis order, per-axis lists, padding.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "engine/nn/scope.h"
#include "strata/v1/common.pb.h"

namespace strata::nn {

// N, C, spatial... -> N, spatial..., C, and back.
Value ToChannelsLast(Value x);
Value ToChannelsFirst(Value x);

// A list of one element or one for each of `axes` axes, as the latter; empty gives `fallback`. Another length fails
// with `name`.
template <typename List>
std::vector<int64_t> PerAxis(Scope& s, const char* name, const List& list, int axes, std::vector<int64_t> fallback);

// Places along an axis, and pairs of places and cells of a layer, are listed one by one while a model is built: no
// definition may ask for more.
constexpr int64_t kMostPlaces = 1 << 22, kMostPairs = 1 << 26;
// Fails, and is false, if there are more than kMostPlaces, or kMostPairs; `name` is the argument to blame. The number
// of pairs is the product of the factors, which may be too large for an integer.
bool CheckPlaces(Scope& s, const char* name, int64_t places);
bool CheckPairs(Scope& s, const char* name, std::initializer_list<std::span<const int64_t>> factors);

// Adaptive pooling's windows [floor(i in / out), ceil((i + 1) in / out)) of an axis of `in` cells; `size` is PyTorch's
// output_size, of which 0 is `in`. Fails if there are too many.
PoolAttrs::Axis AdaptiveWindows(Scope& s, int64_t size, int64_t in);

// Cells before and after each spatial axis.
struct Pads {
  std::vector<int64_t> lo, hi;
};

// Keras' `same` for one axis: the output has ceil(size / stride) cells, an odd cell goes to the end.
inline void SamePadding(int64_t size, int64_t reach, int64_t stride, int64_t* lo, int64_t* hi) {
  const int64_t out = (size + stride - 1) / stride;
  const int64_t total = std::max<int64_t>((out - 1) * stride + reach - size, 0);
  *lo = total / 2;
  *hi = total - *lo;
}

std::vector<int64_t> PerAxisOf(Scope& s, const char* name, std::vector<int64_t> list, int axes,
                               std::vector<int64_t> fallback);

template <typename List>
std::vector<int64_t> PerAxis(Scope& s, const char* name, const List& list, int axes, std::vector<int64_t> fallback) {
  return PerAxisOf(s, name, std::vector<int64_t>(list.begin(), list.end()), axes, std::move(fallback));
}

}  // namespace strata::nn
