// The connection to a server and what every command needs around it.
//
//   Client client({.address = "127.0.0.1:8001"});
//   STRATA_ASSIGN_OR_RETURN(v1::ModelInfo info, client.Call(client.models(), &v1::Models::Stub::Get, request));
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "inference/open_inference.grpc.pb.h"
#include "strata/v1/services.grpc.pb.h"

namespace strata::cli {

absl::Status FromGrpc(const grpc::Status& status);

// "NOT_FOUND: model "x" ...", in one line.
std::string OneLine(const absl::Status& status);

// Thread-safe. Connects when first used, and again by itself after the connection broke.
class Client {
 public:
  struct Options {
    std::string address = "127.0.0.1:8001";
    absl::Duration timeout = absl::Seconds(60);  // of calls that are not streams
  };
  explicit Client(const Options& options);

  v1::Catalog::Stub& catalog() { return *catalog_; }
  v1::Models::Stub& models() { return *models_; }
  v1::Training::Stub& training() { return *training_; }
  inference::GRPCInferenceService::Stub& inference() { return *inference_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  // One unary call under the timeout.
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                                const Request& request) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + options_.timeout));
    Response response;
    const absl::Status status = FromGrpc((stub.*method)(&context, request, &response));
    if (!status.ok()) return status;
    return response;
  }

 private:
  Options options_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Catalog::Stub> catalog_;
  std::unique_ptr<v1::Models::Stub> models_;
  std::unique_ptr<v1::Training::Stub> training_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> inference_;
};

}  // namespace strata::cli
