// Every layer of the catalog with every sample in every dialect that has it: what the tests over all layers run.
#pragma once

#include <string>
#include <vector>

#include "engine/nn/component.h"
#include "strata/v1/model.pb.h"

namespace strata::nn {

struct LayerCase {
  std::string name;  // conv2d_0_pytorch
  const Component* component;
  const Sample* sample;
  v1::Dialect dialect;
  v1::Layer layer;  // complete

  DType input_type() const { return sample->ids_below > 0 ? DType::kI64 : DType::kF32; }
};

std::vector<LayerCase> LayerCases();

// The layer `kind` with attributes as text.
v1::Layer ParseLayer(const std::string& kind, const std::string& attrs);

}  // namespace strata::nn
