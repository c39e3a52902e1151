// The optimizer's variables in Keras' whole models: one flat list, whose order each optimizer and each of Keras' three
// generations (tf.keras 2's optimizers, its legacy ones, Keras 3's) has its own rules for.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "engine/session.h"
#include "service/store/safetensors.h"

namespace strata::service {

// The list as tensors of a checkpoint: slots and the number of updates. Nothing if the file has none. INVALID_ARGUMENT
// if it fits none of the orders.
absl::StatusOr<NamedTensors> KerasOptimizerState(const v1::Model& model, const std::vector<ParameterSpec>& parameters,
                                                 const v1::TrainingConfig& config, const TensorFile& file);

// Completes the configuration of a Nadam of tf.keras 2, which goes on from `state`.
void CompleteNadamProduct(const v1::Model& model, const std::vector<ParameterSpec>& parameters,
                          const NamedTensors& state, v1::TrainingConfig* config);

// The other direction, as tf.keras 2 writes it: the group optimizer_weights of an HDF5 file, or optimizer/vars of an
// archive, in which legacy optimizers leave nothing. Slots that `state` lacks begin as the optimizer's do.
void AddKerasOptimizer(const v1::Model& model, const std::vector<ParameterSpec>& parameters,
                       const v1::TrainingConfig& config, const NamedTensors& weights, const NamedTensors& state,
                       bool archive, TensorFile* file);

}  // namespace strata::service
