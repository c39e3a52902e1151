// What the normalisations share.
#pragma once

#include "engine/nn/scope.h"

namespace strata::nn {

// Mean and biased variance over `axes`, kept with size 1. `weights`, of x's shape, says how much each element counts;
// empty: all count the same. Both are zero where nothing counts.
struct Moments {
  Value mean, variance;
  double count = 1;  // elements behind each
};
Moments MomentsOf(Value x, const std::vector<int64_t>& axes, Value weights = {});

// (x - mean) / sqrt(variance + epsilon) * scale + offset; `scale` and `offset` may be empty. One factor is made of
// both, for scales of which there are few.
Value Normalize(Value x, const Moments& m, double epsilon, Value scale = {}, Value offset = {});

// The same with the moments of x over `axes`, without scale and offset.
Value Standardize(Value x, const std::vector<int64_t>& axes, double epsilon, Value weights = {});

// LayerNorm over the last axis with the parameters weight and bias under `scope`.
Value LayerNormOf(Scope& scope, Value x, double epsilon, bool use_bias);

}  // namespace strata::nn
