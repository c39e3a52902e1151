// Shapes: sizes of axes, outermost first. Rank 0 is a scalar.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace strata {

using Shape = std::vector<int64_t>;

// Product of the sizes; 1 for a scalar. The sizes are trusted (checked where they enter).
int64_t NumElements(std::span<const int64_t> shape);

// Product of sizes from outside: false on a negative size or beyond 2^48 elements.
bool CheckedNumElements(std::span<const int64_t> shape, int64_t* count);

// "[2, 3]"; -1 prints as "?".
std::string ShapeString(std::span<const int64_t> shape);

// Row-major strides in elements.
Shape Strides(std::span<const int64_t> shape);

}  // namespace strata
