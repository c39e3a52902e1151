// What layers do with inputs of other types than float32.
#pragma once

#include <string>

#include "engine/nn/scope.h"

namespace strata::nn {

// The arguments as layer `kind` computes with them (of a Keras Activation: `kind` is its activation's). Integers and
// booleans stay, become float32 or are refused, as the dialect's framework does it; Keras' layers compute in float32
// whatever floating-point type they get.
Args TakeTypes(Scope& s, const std::string& kind, Args args);

}  // namespace strata::nn
