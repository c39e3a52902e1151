// What the reader and the writers of PyTorch's models share.
#pragma once

#include "strata/v1/model.pb.h"

namespace strata::framework {

// Values that the layer's forward returns.
int NumOutputs(const v1::Layer& layer);

}  // namespace strata::framework
