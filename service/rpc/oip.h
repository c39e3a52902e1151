// Open Inference Protocol messages to and from the engine's tensors.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/session.h"
#include "inference/open_inference.pb.h"
#include "service/core/registry.h"

namespace strata::service {

// A request, checked against the version that it is for.
struct InferInputs {
  // Views into the request, or into `converted`.
  NamedViews views;
  NamedTensors converted;
  // Size of axis 0 where the version chooses it by the request; 1 otherwise.
  int64_t rows = 1;
  size_t bytes = 0;
  // From the request's `timeout` parameter.
  absl::Duration timeout = absl::InfiniteDuration();
};

// INVALID_ARGUMENT for what does not fit the version; UNIMPLEMENTED for extensions that the server does not have.
absl::StatusOr<InferInputs> ParseInfer(const inference::ModelInferRequest& request, const Version& version);

// Outputs that the request asks for, raw, in its order (or the version's).
absl::Status FillInferResponse(const inference::ModelInferRequest& request, const LoadedVersion& version,
                               const NamedTensors& outputs, inference::ModelInferResponse* response);

void FillMetadata(const LoadedVersion& version, const std::vector<int64_t>& versions,
                  inference::ModelMetadataResponse* response);
// `max_rows`: how many rows the batcher joins.
void FillConfig(const LoadedVersion& version, int64_t max_rows, inference::ModelConfig* config);

}  // namespace strata::service
