// What every reader of model files promises, whatever it is given.
#pragma once

#include "absl/status/statusor.h"
#include "engine/base/status.h"
#include "service/files/containers.h"

namespace strata::service {

// A reason, or tensors within the limits.
template <typename Read>
void CheckRead(const absl::StatusOr<Read>& read, const ContainerLimits& limits) {
  if (!read.ok()) {
    STRATA_CHECK(!read.status().message().empty());
    return;
  }
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : read->tensors) bytes += tensor.size_bytes();
  STRATA_CHECK(bytes <= limits.max_tensor_bytes);
}

}  // namespace strata::service
