// What PyTorch's binary cross entropies share.
#pragma once

#include "engine/nn/losses/component.h"
#include "google/protobuf/repeated_field.h"

namespace strata::nn {

// Fails, and is false, unless the target is floating-point and of the prediction's shape.
bool SameShape(Scope& s, const LossArgs& args);

// A constant factor, broadcast from the last axes of `like`. `shape`, if it is not empty, is the factor's. Fails with
// the argument `name`.
Value LossFactor(Scope& s, const char* name, const v1::Doubles& values,
                 const google::protobuf::RepeatedField<int64_t>& shape, Value like);

// -[t max(ln p, -100) + (1 - t) max(ln(1 - p), -100)]. The gradient is PyTorch's own formula,
// (p - t) / max(p (1 - p), 1e-12), which is bounded where the logarithms are clamped; that of the target is exact.
Value BinaryCrossEntropy(Value p, Value t);

}  // namespace strata::nn
