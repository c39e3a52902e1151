#include "service/rpc/inference.h"

#include <atomic>
#include <utility>

#include "engine/base/status.h"
#include "service/rpc/oip.h"
#include "service/rpc/unary.h"

namespace strata::service {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

// One prediction. Deletes itself when gRPC is done with it; Finish is called exactly once, so until then it lives.
class InferReactor final : public ServerUnaryReactor {
 public:
  InferReactor(const InferenceService::Options* options, CallbackServerContext* context,
               const inference::ModelInferRequest* request, inference::ModelInferResponse* response)
      : options_(options),
        request_(request),
        response_(response),
        record_(options->metrics, "GRPCInferenceService/ModelInfer"),
        deadline_(absl::FromChrono(context->deadline())) {}

  void Begin() {
    absl::StatusOr<LoadedVersion> version =
        options_->registry->Resolve(request_->model_name(), request_->model_version());
    if (!version.ok()) return End(version.status());
    version_ = *std::move(version);
    if (version_.version != nullptr) return Enqueue();
    // Known, but not in memory: the disk is for the pool.
    const bool added = options_->pool->TryAdd([this] {
      absl::StatusOr<LoadedVersion> loaded =
          options_->registry->Acquire(request_->model_name(), request_->model_version());
      if (!loaded.ok()) return End(loaded.status());
      version_ = *std::move(loaded);
      Enqueue();
    });
    if (!added) End(absl::ResourceExhaustedError("the server has too much to do"));
  }

  void OnCancel() override { cancelled_ = true; }
  void OnDone() override { delete this; }

 private:
  void Enqueue() {
    absl::StatusOr<InferInputs> inputs = ParseInfer(*request_, *version_.version);
    if (!inputs.ok()) return End(inputs.status());
    inputs_ = *std::move(inputs);
    InferenceJob job{.model = version_.model,
                     .version = version_.version,
                     .inputs = inputs_.views,
                     .rows = inputs_.rows,
                     .bytes = inputs_.bytes,
                     .deadline = std::min(deadline_, absl::Now() + inputs_.timeout),
                     .cancelled = [this] { return cancelled_.load(); },
                     .done = [this](BatchResult result) { Answer(std::move(result)); }};
    if (const absl::Status status = options_->batcher->Add(std::move(job)); !status.ok()) End(status);
  }

  void Answer(BatchResult result) {
    absl::Status status = result.outputs.status();
    if (status.ok()) status = FillInferResponse(*request_, version_, *result.outputs, response_);
    queued_ = result.queued;
    End(status);
  }

  void End(const absl::Status& status) {
    // Names that are not registered make no series.
    if (version_.version != nullptr) {
      options_->metrics->InferenceDone(version_.model, CodeName(status.code()), absl::Now() - began_, queued_);
    }
    Finish(record_.Done(status));
  }

  const InferenceService::Options* const options_;
  const inference::ModelInferRequest* const request_;
  inference::ModelInferResponse* const response_;
  const CallRecord record_;
  const absl::Time deadline_;
  const absl::Time began_ = absl::Now();
  absl::Duration queued_ = absl::ZeroDuration();
  LoadedVersion version_;
  InferInputs inputs_;
  std::atomic<bool> cancelled_{false};
};

// For answers that need nothing but memory.
ServerUnaryReactor* AtOnce(CallbackServerContext* context, Metrics* metrics, const char* method,
                           const absl::Status& status) {
  ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(CallRecord(metrics, method).Done(status));
  return reactor;
}

}  // namespace

ServerUnaryReactor* InferenceService::ServerLive(CallbackServerContext* context, const inference::ServerLiveRequest*,
                                                 inference::ServerLiveResponse* response) {
  response->set_live(true);
  return AtOnce(context, options_.metrics, "GRPCInferenceService/ServerLive", absl::OkStatus());
}

ServerUnaryReactor* InferenceService::ServerReady(CallbackServerContext* context, const inference::ServerReadyRequest*,
                                                  inference::ServerReadyResponse* response) {
  response->set_ready(options_.ready() && options_.registry->Ready());
  return AtOnce(context, options_.metrics, "GRPCInferenceService/ServerReady", absl::OkStatus());
}

ServerUnaryReactor* InferenceService::ModelReady(CallbackServerContext* context,
                                                 const inference::ModelReadyRequest* request,
                                                 inference::ModelReadyResponse* response) {
  // A version that is not in memory is loaded by the first request that asks for it.
  response->set_ready(options_.ready() && options_.registry->Resolve(request->name(), request->version()).ok());
  return AtOnce(context, options_.metrics, "GRPCInferenceService/ModelReady", absl::OkStatus());
}

ServerUnaryReactor* InferenceService::ServerMetadata(CallbackServerContext* context,
                                                     const inference::ServerMetadataRequest*,
                                                     inference::ServerMetadataResponse* response) {
  response->set_name("strata");
  response->set_version(options_.version);
  for (const char* extension : {"binary_tensor_data", "parameters", "model_configuration", "strata.v1.training"}) {
    response->add_extensions(extension);
  }
  return AtOnce(context, options_.metrics, "GRPCInferenceService/ServerMetadata", absl::OkStatus());
}

ServerUnaryReactor* InferenceService::ModelMetadata(CallbackServerContext* context,
                                                    const inference::ModelMetadataRequest* request,
                                                    inference::ModelMetadataResponse* response) {
  return OnPool(context, options_.pool, options_.metrics, "GRPCInferenceService/ModelMetadata", response,
                [this, request]() -> absl::StatusOr<inference::ModelMetadataResponse> {
                  STRATA_ASSIGN_OR_RETURN(const LoadedVersion version,
                                          options_.registry->Acquire(request->name(), request->version()));
                  STRATA_ASSIGN_OR_RETURN(const std::vector<int64_t> numbers,
                                          options_.registry->VersionNumbers(request->name()));
                  inference::ModelMetadataResponse metadata;
                  FillMetadata(version, numbers, &metadata);
                  return metadata;
                });
}

ServerUnaryReactor* InferenceService::ModelConfig(CallbackServerContext* context,
                                                  const inference::ModelConfigRequest* request,
                                                  inference::ModelConfigResponse* response) {
  return OnPool(context, options_.pool, options_.metrics, "GRPCInferenceService/ModelConfig", response,
                [this, request]() -> absl::StatusOr<inference::ModelConfigResponse> {
                  STRATA_ASSIGN_OR_RETURN(const LoadedVersion version,
                                          options_.registry->Acquire(request->name(), request->version()));
                  inference::ModelConfigResponse config;
                  FillConfig(version, options_.max_rows, config.mutable_config());
                  return config;
                });
}

ServerUnaryReactor* InferenceService::ModelInfer(CallbackServerContext* context,
                                                 const inference::ModelInferRequest* request,
                                                 inference::ModelInferResponse* response) {
  auto* reactor = new InferReactor(&options_, context, request, response);
  reactor->Begin();
  return reactor;
}

}  // namespace strata::service
