// What the normalisations share.
#pragma once

#include <vector>

#include "engine/nn/scope.h"
#include "engine/ops/ops.h"
#include "google/protobuf/repeated_field.h"

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

// What follows the standardisation; either may be empty.
struct ScaleOffset {
  Value scale, offset;

  Value Apply(Value y) const;
};
// weight and bias of PyTorch, parameters of `shape`, spread over the values as `spread`.
ScaleOffset WeightBias(Scope& s, bool affine, bool use_bias, const Shape& shape, const Shape& spread);
// gamma and beta of Keras alike; M is the layer's message.
template <typename M>
ScaleOffset GammaBeta(Scope& s, const M& a, const Shape& shape, const Shape& spread) {
  ScaleOffset p;
  if (a.scale()) {
    p.scale = Reshape(s.Param("gamma", shape,
                              {.initializer = a.gamma_initializer(),
                               .regularizer = a.has_gamma_regularizer() ? &a.gamma_regularizer() : nullptr,
                               .constraint = a.has_gamma_constraint() ? &a.gamma_constraint() : nullptr}),
                      spread);
  }
  if (a.center()) {
    p.offset = Reshape(s.Param("beta", shape,
                               {.initializer = a.beta_initializer(),
                                .regularizer = a.has_beta_regularizer() ? &a.beta_regularizer() : nullptr,
                                .constraint = a.has_beta_constraint() ? &a.beta_constraint() : nullptr}),
                       spread);
  }
  return p;
}

// The axes of PyTorch's normalized_shape `sizes`, which must be the last ones of x. Fails, and is empty, otherwise.
std::vector<int64_t> LastAxes(Scope& s, const google::protobuf::RepeatedField<int64_t>& sizes, Value x);

}  // namespace strata::nn
