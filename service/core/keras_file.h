// Keras' HDF5 layouts and archives against a model's parameters. Both layouts are read and written from one description
// of where each weight stands.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/session.h"
#include "service/store/safetensors.h"

namespace strata::service {

// What an unpacked file (files/containers.h) has besides weights; empty where it has none.
struct KerasTexts {
  std::string architecture;  // to_json()
  std::string training;      // compile()'s arguments
};
KerasTexts TextsOf(const TensorFile& file);

// An attribute of a group that is a list of texts, which Keras splits into name0, name1, ... where it is long.
std::vector<std::string> TextList(const TensorFile& file, const std::string& group, const std::string& name,
                                  bool* found);

// Whether the weights are in the layout of .weights.h5 (layers/<class>/vars/0) and not in the older one (layer_names).
bool HasPathLayout(const TensorFile& file);

// Weights by the model's names: those that the file has for the layers of `model` (complete); they leave it.
// INVALID_ARGUMENT names the layer whose weights are missing, too many or of another shape.
absl::StatusOr<NamedTensors> KerasWeights(const v1::Model& model, const std::vector<ParameterSpec>& parameters,
                                          TensorFile* file);

// The other direction: tensors and attributes of model_weights (prefix "model_weights/", or none) in the older layout,
// or of .weights.h5.
void AddLayerLayout(const v1::Model& model, const std::vector<ParameterSpec>& parameters, NamedTensors weights,
                    const std::string& prefix, TensorFile* file);
void AddPathLayout(const v1::Model& model, const std::vector<ParameterSpec>& parameters, NamedTensors weights,
                   TensorFile* file);

}  // namespace strata::service
