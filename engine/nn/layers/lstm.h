// One step of LSTM, for the layer, the cell and ConvLSTM.
#pragma once

#include <vector>

#include "engine/nn/scope.h"
#include "strata/v1/common.pb.h"

namespace strata::nn {

// From the gates i, f, g, o along the last axis and the cell state; returns h' and c'.
std::vector<Value> PytorchLstmStep(Value gates, Value c);
std::vector<Value> KerasLstmStep(Scope& s, const v1::Activation& activation, const v1::Activation& recurrent_activation,
                                 Value gates, Value c);

}  // namespace strata::nn
