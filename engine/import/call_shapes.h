// Shapes at every call of a model, with -1 for sizes that the definition leaves open.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/shape.h"
#include "strata/v1/model.pb.h"

namespace strata::framework {

struct CallShapes {
  std::vector<Shape> args;
  std::vector<Shape> outputs;
};

// One entry for each call of a complete model; DenseFeatures has an argument for each column, whatever its features
// are. `inputs` has a shape for each input, -1 where a size is unknown; an output size is unknown if it follows an
// unknown input size, which is found by building the graph for several sizes.
absl::StatusOr<std::vector<CallShapes>> InferCallShapes(const v1::Model& model, const std::vector<Shape>& inputs);

// The shapes that the model's inputs declare, batch axis included.
std::vector<Shape> DeclaredShapes(const v1::Model& model);

}  // namespace strata::framework
