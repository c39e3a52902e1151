// Applying an activation: shared by the activation layers, the `activation` arguments of other layers, and recurrent
// cells.
#pragma once

#include "engine/nn/scope.h"
#include "strata/v1/common.pb.h"

namespace strata::nn {

// The activation's output; a sigmoid's or softmax's carries its logits. An unset activation is the identity.
Annotated Activate(Scope& s, const v1::Activation& activation, Annotated x);

// Those with an axis. A softmax over the last one carries its logits.
Annotated SoftmaxOf(Scope& s, const v1::Softmax& a, Value x);
Value LogSoftmaxOf(Scope& s, const v1::LogSoftmax& a, Value x);

// PyTorch's guess where no axis is given: 0 for rank 0, 1 and 3, otherwise 1.
int DefaultAxis(int rank);
// The axis of a softmax, counted from the front; fails, and is -1, if there is none.
int SoftmaxAxis(Scope& s, bool has_axis, int64_t axis, Value x);

}  // namespace strata::nn
