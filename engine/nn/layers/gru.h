// One step of GRU, for the layer and the cell.
#pragma once

#include "engine/nn/scope.h"
#include "strata/v1/common.pb.h"

namespace strata::nn {

// `x` and `h_projected` are x W + b and h U + b, gates r, z, n.
Value PytorchGruStep(Value x, Value h_projected, Value h);

// `x` is x W + b, gates z, r, h; `kernel` the recurrent kernel; `bias` the recurrent bias of reset_after, or empty.
Value KerasGruStep(Scope& s, const v1::Activation& activation, const v1::Activation& recurrent_activation,
                   bool reset_after, Value x, Value h, Value kernel, Value bias);

}  // namespace strata::nn
