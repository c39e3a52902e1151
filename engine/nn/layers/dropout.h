// Dropout's algebra, for the layers that drop inside themselves.
#pragma once

#include <string_view>

#include "engine/nn/scope.h"

namespace strata::nn {

// The shape of the mask that Keras' noise_shape asks for: -1 and no noise shape at all keep the input's sizes. Fails
// where it does not fit the input.
Shape NoiseShape(Scope& s, Value x, const v1::Ints* noise_shape);

// x with cells of a mask of `mask_shape` (broadcast to x) zeroed with probability `rate` and the rest scaled by 1 / (1
// - rate). rate = 1 gives zeros. The draw is named by the call's path and `purpose`.
Value DropWith(Scope& s, Value x, double rate, const Shape& mask_shape, std::string_view purpose);

}  // namespace strata::nn
