#include "cli/client.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace strata::cli {

absl::Status FromGrpc(const grpc::Status& status) {
  std::string message = status.error_message();
  // gRPC's own words name the limit and not what sets it.
  if (absl::StartsWith(message, "Received message larger than max")) {
    absl::StrAppend(&message, " bytes: the server's flag --max_message_mb sets the limit");
  }
  // The two enums have the same numbers.
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), message);
}

std::string OneLine(const absl::Status& status) {
  std::string text = absl::StrCat(absl::StatusCodeToString(status.code()), ": ", status.message());
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

Client::Client(const Options& options) : options_(options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  // A server that was restarted is found within a second or two, not after gRPC's default of up to two minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // A peer that vanished without closing the connection is noticed.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  channel_ = grpc::CreateCustomChannel(options.address, grpc::InsecureChannelCredentials(), arguments);
  catalog_ = v1::Catalog::NewStub(channel_);
  models_ = v1::Models::NewStub(channel_);
  training_ = v1::Training::NewStub(channel_);
  inference_ = inference::GRPCInferenceService::NewStub(channel_);
}

}  // namespace strata::cli
