// Strata's own model file: safetensors with the weights as tensors, and the definition, training configuration, lineage
// and digests as metadata. Equal content gives equal bytes.
//
// Form 1 holds a version: tensors are the weights, under their names. Form 2 holds a training: tensors are those of a
// checkpoint (engine/base/checkpoint_names.h), and the cursor says where its source of batches goes on. A run's
// checkpoint on the disk is such a file; those that older servers wrote lack the metadata that begins with "strata."
// and are read all the same.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "service/store/safetensors.h"
#include "strata/v1/services.pb.h"

namespace strata::service {

struct NativeFile {
  v1::Model definition;
  std::optional<v1::TrainingConfig> training;
  std::string model, run;  // lineage
  int64_t version = 0, step = 0;
  NamedTensors weights;
  // What a checkpoint holds besides weights; empty: the file holds a version.
  NamedTensors state;
};

// What a checkpoint's file says besides its tensors.
struct CheckpointFacts {
  const v1::Model* definition = nullptr;
  const v1::TrainingConfig* training = nullptr;
  std::string model, run, build, instruction_set;
  int64_t step = 0, position = 0;
  int threads = 0;
};
Metadata CheckpointMetadata(const CheckpointFacts& facts, const NamedTensors& checkpoint);

// Of a version's file, whose tensors are `weights` (NativeFile's own are not looked at).
Metadata NativeMetadata(const NativeFile& file, const NamedTensors& weights);

// DATA_LOSS if the weights differ from their digest or the file breaks a rule; INVALID_ARGUMENT for a definition that
// does not parse; UNIMPLEMENTED for a file of a later version of the format.
absl::StatusOr<NativeFile> ReadNative(TensorFile file);

// A message as JSON with sorted keys: equal messages give equal texts.
absl::StatusOr<std::string> CanonicalJson(const google::protobuf::Message& message);

// A whole safetensors file in memory.
std::string TensorFileBytes(const NamedTensors& tensors, const Metadata& metadata);

}  // namespace strata::service
