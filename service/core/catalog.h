// The catalog of components, read from the options of the protos.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "strata/v1/services.pb.h"

namespace strata::service {

// Components of a family, or of all families if it is empty. INVALID_ARGUMENT for an unknown family.
absl::StatusOr<v1::ListComponentsResponse> ListComponents(const std::string& family);

}  // namespace strata::service
