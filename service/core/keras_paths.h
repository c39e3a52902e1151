// Where the weights of each layer stand in .weights.h5 files of tf.keras 2.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/session.h"

namespace strata::service {

struct LayerParameters {
  const v1::Layer* layer = nullptr;
  std::vector<const ParameterSpec*> parameters;  // in the order of their declaration
};
// One entry for each layer of the outermost model, in its order. Pointers into the arguments.
std::vector<LayerParameters> ParametersByLayer(const v1::Model& model, const std::vector<ParameterSpec>& parameters);

struct WeightPath {
  std::string path;  // "layers/dense_1/vars/0"
  const ParameterSpec* parameter = nullptr;
};
// One for each parameter. INVALID_ARGUMENT for a layer whose parameters do not fit its description.
absl::StatusOr<std::vector<WeightPath>> PathsOf(const v1::Model& model, const std::vector<ParameterSpec>& parameters);

}  // namespace strata::service
