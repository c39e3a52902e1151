#include "service/rpc/models.h"

#include "service/core/convert.h"
#include "service/rpc/unary.h"

namespace strata::service {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

ServerUnaryReactor* ModelsService::Create(CallbackServerContext* context, const v1::CreateModelRequest* request,
                                          v1::ModelInfo* response) {
  return OnPool(context, pool_, metrics_, "Models/Create", response,
                [this, request] { return registry_->Create(*request); });
}

ServerUnaryReactor* ModelsService::Get(CallbackServerContext* context, const v1::GetModelRequest* request,
                                       v1::ModelInfo* response) {
  return OnPool(context, pool_, metrics_, "Models/Get", response,
                [this, request] { return registry_->Get(request->name()); });
}

ServerUnaryReactor* ModelsService::List(CallbackServerContext* context, const v1::ListModelsRequest* request,
                                        v1::ListModelsResponse* response) {
  return OnPool(context, pool_, metrics_, "Models/List", response,
                [this, request] { return registry_->List(*request); });
}

ServerUnaryReactor* ModelsService::Delete(CallbackServerContext* context, const v1::DeleteModelRequest* request,
                                          v1::DeleteModelResponse* response) {
  return OnPool(context, pool_, metrics_, "Models/Delete", response,
                [this, request]() -> absl::StatusOr<v1::DeleteModelResponse> {
                  if (const absl::Status status = runs_->DeleteModel(request->name()); !status.ok()) return status;
                  return v1::DeleteModelResponse();
                });
}

ServerUnaryReactor* ModelsService::Validate(CallbackServerContext* context, const v1::ValidateModelRequest* request,
                                            v1::ValidateModelResponse* response) {
  return OnPool(context, pool_, metrics_, "Models/Validate", response,
                [this, request] { return registry_->Validate(*request); });
}

ServerUnaryReactor* ModelsService::Summary(CallbackServerContext* context, const v1::SummaryRequest* request,
                                           v1::SummaryResponse* response) {
  return OnPool(context, pool_, metrics_, "Models/Summary", response,
                [this, request] { return registry_->Summary(*request); });
}

// Answered by the run's thread, so none of ours waits for it.
ServerUnaryReactor* ModelsService::Publish(CallbackServerContext* context, const v1::PublishRequest* request,
                                           v1::VersionInfo* response) {
  ServerUnaryReactor* reactor = context->DefaultReactor();
  const CallRecord record(metrics_, "Models/Publish");
  runs_->Publish(*request, [reactor, record, response](absl::StatusOr<v1::VersionInfo> info) {
    if (info.ok()) *response = *std::move(info);
    reactor->Finish(record.Done(info.status()));
  });
  return reactor;
}

ServerUnaryReactor* ModelsService::ListVersions(CallbackServerContext* context, const v1::ListVersionsRequest* request,
                                                v1::ListVersionsResponse* response) {
  return OnPool(context, pool_, metrics_, "Models/ListVersions", response,
                [this, request] { return registry_->ListVersions(*request); });
}

ServerUnaryReactor* ModelsService::Rollback(CallbackServerContext* context, const v1::RollbackRequest* request,
                                            v1::VersionInfo* response) {
  return OnPool(context, pool_, metrics_, "Models/Rollback", response,
                [this, request] { return registry_->Rollback(*request); });
}

// A run's weights come from its own thread; the conversion is work for the pool.
ServerUnaryReactor* ModelsService::Convert(CallbackServerContext* context, const v1::ConvertRequest* request,
                                           v1::ConvertResponse* response) {
  const absl::StatusOr<std::string> run = RunToConvert(*registry_, *request, runs_->RunsWithWeights(request->model()));
  if (!run.ok() || run->empty()) {
    return OnPool(context, pool_, metrics_, "Models/Convert", response,
                  [this, request, status = run.status()]() -> absl::StatusOr<v1::ConvertResponse> {
                    if (!status.ok()) return status;
                    return ConvertModel(registry_, *engine_, *request, std::nullopt);
                  });
  }
  ServerUnaryReactor* reactor = context->DefaultReactor();
  const CallRecord record(metrics_, "Models/Convert");
  runs_->CopyWeights(
      request->model(), *run,
      [this, reactor, record, request, response, name = *run](absl::StatusOr<NamedTensors> tensors, int64_t step) {
        if (!tensors.ok()) return reactor->Finish(record.Done(tensors.status()));
        auto weights = std::make_shared<std::optional<RunWeights>>(RunWeights{name, step, *std::move(tensors)});
        const bool added = pool_->TryAdd([this, reactor, record, request, response, weights] {
          absl::StatusOr<v1::ConvertResponse> result = ConvertModel(registry_, *engine_, *request, *weights);
          if (result.ok()) *response = *std::move(result);
          reactor->Finish(record.Done(result.status()));
        });
        if (added) return;
        metrics_->Rejected("queue_full");
        reactor->Finish(record.Done(absl::ResourceExhaustedError("the server has too much to do")));
      });
  return reactor;
}

ServerUnaryReactor* CatalogService::ListComponents(CallbackServerContext* context,
                                                   const v1::ListComponentsRequest* request,
                                                   v1::ListComponentsResponse* response) {
  return OnPool(context, pool_, metrics_, "Catalog/ListComponents", response,
                [this, request] { return components_->List(request->family()); });
}

ServerUnaryReactor* CatalogService::RegisterComponent(CallbackServerContext* context,
                                                      const v1::RegisterComponentRequest* request,
                                                      v1::CustomComponentInfo* response) {
  return OnPool(context, pool_, metrics_, "Catalog/RegisterComponent", response,
                [this, request] { return components_->Register(request->component()); });
}

ServerUnaryReactor* CatalogService::GetComponent(CallbackServerContext* context, const v1::GetComponentRequest* request,
                                                 v1::CustomComponentInfo* response) {
  return OnPool(context, pool_, metrics_, "Catalog/GetComponent", response,
                [this, request] { return components_->Get(request->name(), request->version()); });
}

ServerUnaryReactor* CatalogService::DeleteComponent(CallbackServerContext* context,
                                                    const v1::DeleteComponentRequest* request,
                                                    v1::DeleteComponentResponse* response) {
  return OnPool(context, pool_, metrics_, "Catalog/DeleteComponent", response,
                [this, request]() -> absl::StatusOr<v1::DeleteComponentResponse> {
                  const absl::Status status = components_->Delete(request->name(), request->version());
                  if (!status.ok()) return status;
                  return v1::DeleteComponentResponse();
                });
}

}  // namespace strata::service
