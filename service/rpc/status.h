// The one place where our errors become gRPC's.
#pragma once

#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"

namespace strata::service {

// Codes have the same numbers. Our bugs (INTERNAL) are logged too.
grpc::Status ToGrpc(const absl::Status& status);

// "OK", "NOT_FOUND", ...
std::string CodeName(absl::StatusCode code);

}  // namespace strata::service
