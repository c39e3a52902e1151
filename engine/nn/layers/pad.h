// Padding of one axis with what the axis itself holds.
#pragma once

#include "engine/nn/scope.h"

namespace strata::nn {

enum class PadKind : uint8_t { kZero, kReflect, kReplicate, kCircular };

// Adds `lo` and `hi` cells (negative: crops). Reflection and the other end cannot give more cells than they have: fails
// with the argument `padding`. `value` fills for kZero.
Value PadAxis(Scope& s, PadKind kind, Value x, int axis, int64_t lo, int64_t hi, double value = 0);

}  // namespace strata::nn
