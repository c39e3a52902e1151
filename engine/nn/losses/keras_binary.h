// What Keras' binary cross entropies share. Directly after a sigmoid they take the logits.
#pragma once

#include "engine/nn/losses/component.h"

namespace strata::nn {

// Labels pulled towards one half.
Value SmoothBinary(Value t, double smoothing);

// max(z, 0) - z t + ln(1 + e^-|z|); the gradient at 0 is 1/2 - t.
Value BinaryFromLogits(Value z, Value t);
// Probabilities, clipped; another epsilon stands inside the logarithms.
Value BinaryFromProbabilities(Value p, Value t);

// Only logits, if there are any, must have the labels' shape; probabilities broadcast. Fails otherwise.
bool CheckBinaryShapes(Scope& s, const LossArgs& args, Value logits);

}  // namespace strata::nn
