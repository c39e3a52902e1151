// A training apart from its weights, as versions keep it and files carry it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/session.h"
#include "service/store/safetensors.h"
#include "strata/v1/training.pb.h"

namespace strata::service {

struct TrainingState {
  v1::TrainingConfig config;
  // What a checkpoint holds besides weights (engine/base/checkpoint_names.h). Empty: a configuration alone.
  NamedTensors tensors;
  // Batches behind it: the next one has the number after it.
  int64_t step() const;
};

// As a file of the store, and back. DATA_LOSS for a file that holds no configuration.
TensorFile ToFile(TrainingState state);
absl::StatusOr<TrainingState> TrainingFrom(TensorFile file);

// A checkpoint is weights and the rest.
NamedTensors JoinCheckpoint(NamedTensors weights, NamedTensors rest);
void SplitCheckpoint(NamedTensors checkpoint, NamedTensors* weights, NamedTensors* rest);

// Updates that the optimizer has made.
int64_t UpdatesOf(const NamedTensors& checkpoint);

// Digits of the next batch's number, the epoch and the steps into it: where a source of batches goes on.
std::string CursorOf(const NamedTensors& checkpoint);

}  // namespace strata::service
