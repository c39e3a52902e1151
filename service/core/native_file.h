// Strata's own model file: safetensors with the weights as tensors, and the definition, training configuration, lineage
// and digest as metadata. Equal content gives equal bytes.
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
};

std::string WriteNative(const NativeFile& file);

// DATA_LOSS if the weights differ from their digest or the file breaks a rule; INVALID_ARGUMENT for a definition that
// does not parse; UNIMPLEMENTED for a file of a later version of the format.
absl::StatusOr<NativeFile> ReadNative(absl::string_view bytes);

// A message as JSON with sorted keys: equal messages give equal texts.
absl::StatusOr<std::string> CanonicalJson(const google::protobuf::Message& message);

// A whole safetensors file in memory.
std::string TensorFileBytes(const NamedTensors& tensors, const Metadata& metadata);

}  // namespace strata::service
