// Inputs and outputs of a model or a graph, by name.
#pragma once

#include <string>
#include <vector>

#include "engine/base/dtype.h"
#include "engine/base/shape.h"

namespace strata {

// Axis -1 is chosen by each request; the batch axis, where there is one, is the first.
struct PortSpec {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
};

}  // namespace strata
