// inference.GRPCInferenceService: the Open Inference Protocol.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>

#include "inference/open_inference.grpc.pb.h"
#include "service/batching/batcher.h"
#include "service/core/registry.h"
#include "service/core/worker_pool.h"

namespace strata::service {

class InferenceService final : public inference::GRPCInferenceService::CallbackService {
 public:
  struct Options {
    ModelRegistry* registry = nullptr;
    Batcher* batcher = nullptr;
    WorkerPool* pool = nullptr;
    Metrics* metrics = nullptr;
    int64_t max_rows = 128;
    std::string version;
    std::function<bool()> ready;  // the server takes requests
  };
  explicit InferenceService(const Options& options) : options_(options) {}

  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* context,
                                       const inference::ServerLiveRequest* request,
                                       inference::ServerLiveResponse* response) override;
  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* context,
                                        const inference::ServerReadyRequest* request,
                                        inference::ServerReadyResponse* response) override;
  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* context,
                                       const inference::ModelReadyRequest* request,
                                       inference::ModelReadyResponse* response) override;
  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* context,
                                           const inference::ServerMetadataRequest* request,
                                           inference::ServerMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* context,
                                          const inference::ModelMetadataRequest* request,
                                          inference::ModelMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelConfig(grpc::CallbackServerContext* context,
                                        const inference::ModelConfigRequest* request,
                                        inference::ModelConfigResponse* response) override;
  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* context,
                                       const inference::ModelInferRequest* request,
                                       inference::ModelInferResponse* response) override;

 private:
  const Options options_;
};

}  // namespace strata::service
