// Requests that are no message: gRPC 1.51 answers bytes that do not parse with UNIMPLEMENTED and no words.
#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace strata::service {

// INVALID_ARGUMENT with words in place of gRPC's answer, for the methods of these services; their handlers never end a
// call with UNIMPLEMENTED and no words.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeUnreadableRequests(
    const std::vector<std::string>& services);

// The same for messages that we parse ourselves.
absl::Status Unreadable();

}  // namespace strata::service
