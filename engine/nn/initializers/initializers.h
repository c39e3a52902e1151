// How parameters start. Numbers come from Philox streams named by the parameter, so that an initialisation depends only
// on the seed and the parameter's name.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/base/tensor.h"
#include "strata/v1/common.pb.h"
#include "strata/v1/schema.pb.h"

namespace strata::nn {

// A float32 tensor of `shape`, in the dialect's layout: fans follow it (PyTorch: axis 0 out, axis 1 in, the rest a
// receptive field; Keras: the last axis out, the one before it in). `stream` names the parameter's random numbers.
absl::StatusOr<Tensor> Initialize(v1::Dialect dialect, const v1::Initializer& initializer, const Shape& shape,
                                  uint64_t seed, uint64_t stream);

struct Fans {
  double in, out;
};
Fans FansOf(v1::Dialect dialect, const Shape& shape);

// Shorthands for the initialisers that PyTorch's layers choose themselves.
v1::Initializer Uniform(double bound);
v1::Initializer Normal(double stddev);
v1::Initializer ConstantValue(double value);

}  // namespace strata::nn
