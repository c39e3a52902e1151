#include "service/rpc/status.h"

#include <cstdio>
#include <string>

namespace strata::service {

std::string CodeName(absl::StatusCode code) { return absl::StatusCodeToString(code); }

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::string message(status.message());
  if (absl::IsInternal(status) || absl::IsUnknown(status)) {
    std::fprintf(stderr, "error: %s\n", status.ToString().c_str());
  }
  // gRPC carries the message in a header.
  constexpr size_t kMax = 4000;
  if (message.size() > kMax) message = message.substr(0, kMax) + "...";
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message);
}

}  // namespace strata::service
