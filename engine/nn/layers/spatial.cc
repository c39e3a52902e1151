#include "engine/nn/layers/spatial.h"

#include "absl/strings/str_cat.h"
#include "engine/ops/ops.h"

namespace strata::nn {

Value ToChannelsLast(Value x) {
  if (!x) return x;
  std::vector<int64_t> p{0};
  for (int i = 2; i < x.rank(); ++i) p.push_back(i);
  p.push_back(1);
  return Transpose(x, p);
}

Value ToChannelsFirst(Value x) {
  if (!x) return x;
  std::vector<int64_t> p{0, x.rank() - 1};
  for (int i = 1; i + 1 < x.rank(); ++i) p.push_back(i);
  return Transpose(x, p);
}

bool CheckPlaces(Scope& s, const char* name, int64_t places) {
  if (places > kMostPlaces)
    s.Fail(absl::StrCat(name, ": must make at most ", kMostPlaces, " places along an axis, got ", places));
  return s.ok();
}

bool CheckPairs(Scope& s, const char* name, std::initializer_list<std::span<const int64_t>> factors) {
  double pairs = 1;
  for (const std::span<const int64_t> list : factors) {
    for (const int64_t factor : list) pairs *= static_cast<double>(factor);
  }
  if (pairs > static_cast<double>(kMostPairs))
    s.Fail(absl::StrCat(name, ": must make at most ", kMostPairs, " pairs of places and cells, got ", pairs));
  return s.ok();
}

PoolAttrs::Axis AdaptiveWindows(Scope& s, int64_t size, int64_t in) {
  const int64_t out = size == 0 ? in : size;
  PoolAttrs::Axis axis;
  if (!CheckPlaces(s, "output_size", out)) return axis;
  for (int64_t j = 0; j < out; ++j) {
    axis.start.push_back(j * in / out);
    axis.length.push_back(((j + 1) * in + out - 1) / out - axis.start.back());
  }
  return axis;
}

std::vector<int64_t> PerAxisOf(Scope& s, const char* name, std::vector<int64_t> list, int axes,
                               std::vector<int64_t> fallback) {
  for (const int64_t v : list) {
    if (!CheckPlaces(s, name, v)) return fallback;
  }
  if (list.empty()) return fallback;
  if (list.size() == 1) return std::vector<int64_t>(axes, list[0]);
  if (static_cast<int>(list.size()) != axes) {
    s.Fail(absl::StrCat(name, ": must have 1 or ", axes, " entries, got ", list.size()));
    return fallback;
  }
  return list;
}

}  // namespace strata::nn
