// Cells: layers that make one step of a recurrence. Arguments are the input and the states; outputs are (Keras) the
// output, then the new states.
#pragma once

#include <vector>

#include "engine/nn/scope.h"
#include "strata/v1/model.pb.h"

namespace strata::nn {

// Shapes of a Keras cell's states for a batch; empty if the layer is no cell.
std::vector<Shape> StateShapes(const v1::Layer& cell, int64_t batch);

// Width of a cell's output, which is the input of the cell above it.
int64_t OutputWidth(const v1::Layer& cell);

}  // namespace strata::nn
