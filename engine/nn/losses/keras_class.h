// What Keras' categorical cross entropies share. Directly after a softmax they take the logits.
#pragma once

#include "engine/nn/scope.h"

namespace strata::nn {

// The argument `axis` of x, counted from the front; fails, and is -1, if there is none.
int ClassAxis(Scope& s, int64_t axis, Value x);

// ln p of probabilities, clipped.
Value LogProbabilities(Value p);

}  // namespace strata::nn
