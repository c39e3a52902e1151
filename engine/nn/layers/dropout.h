// Dropout's algebra, for the layers that drop inside themselves.
#pragma once

#include <string_view>

#include "engine/nn/scope.h"

namespace strata::nn {

// x with cells of a mask of `mask_shape` (broadcast to x) zeroed with probability `rate` and the rest scaled by 1 / (1
// - rate). rate = 1 gives zeros. The draw is named by the call's path and `purpose`.
Value DropWith(Scope& s, Value x, double rate, const Shape& mask_shape, std::string_view purpose);

}  // namespace strata::nn
