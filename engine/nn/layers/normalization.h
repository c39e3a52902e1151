// What the normalisations share.
#pragma once

#include "engine/nn/scope.h"

namespace strata::nn {

// (x - mean) / sqrt(variance + epsilon) with the mean and the biased variance over `axes`. `weights`, of x's shape,
// says how much each element counts; empty: all count the same.
Value Standardize(Value x, const std::vector<int64_t>& axes, double epsilon, Value weights = {});

// LayerNorm over the last axis with the parameters weight and bias under `scope`.
Value LayerNormOf(Scope& scope, Value x, double epsilon, bool use_bias);

}  // namespace strata::nn
