// strata.v1.Models and strata.v1.Catalog over gRPC.
#pragma once

#include <grpcpp/grpcpp.h>

#include "service/core/model_files.h"
#include "service/core/registry.h"
#include "service/core/run_manager.h"
#include "service/core/worker_pool.h"
#include "service/rpc/transfers.h"
#include "strata/v1/services.grpc.pb.h"

namespace strata::service {

// Files come and go as bytes (chunks.h).
using ModelsCallbackService =
    v1::Models::WithRawCallbackMethod_Import<v1::Models::WithRawCallbackMethod_Export<v1::Models::CallbackService>>;

class ModelsService final : public ModelsCallbackService {
 public:
  ModelsService(ModelRegistry* registry, RunManager* runs, const ModelFiles* files, const Engine* engine,
                WorkerPool* pool, Metrics* metrics, Transfers* transfers)
      : registry_(registry),
        runs_(runs),
        files_(files),
        engine_(engine),
        pool_(pool),
        metrics_(metrics),
        transfers_(transfers) {}

  grpc::ServerUnaryReactor* Create(grpc::CallbackServerContext* context, const v1::CreateModelRequest* request,
                                   v1::ModelInfo* response) override;
  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context, const v1::GetModelRequest* request,
                                v1::ModelInfo* response) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context, const v1::ListModelsRequest* request,
                                 v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context, const v1::DeleteModelRequest* request,
                                   v1::DeleteModelResponse* response) override;
  grpc::ServerUnaryReactor* Validate(grpc::CallbackServerContext* context, const v1::ValidateModelRequest* request,
                                     v1::ValidateModelResponse* response) override;
  grpc::ServerUnaryReactor* Summary(grpc::CallbackServerContext* context, const v1::SummaryRequest* request,
                                    v1::SummaryResponse* response) override;
  grpc::ServerUnaryReactor* Publish(grpc::CallbackServerContext* context, const v1::PublishRequest* request,
                                    v1::VersionInfo* response) override;
  grpc::ServerUnaryReactor* ListVersions(grpc::CallbackServerContext* context, const v1::ListVersionsRequest* request,
                                         v1::ListVersionsResponse* response) override;
  grpc::ServerUnaryReactor* Rollback(grpc::CallbackServerContext* context, const v1::RollbackRequest* request,
                                     v1::VersionInfo* response) override;
  grpc::ServerReadReactor<grpc::ByteBuffer>* Import(grpc::CallbackServerContext* context,
                                                    grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Export(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* Convert(grpc::CallbackServerContext* context, const v1::ConvertRequest* request,
                                    v1::ConvertResponse* response) override;

 private:
  ModelRegistry* const registry_;
  RunManager* const runs_;
  const ModelFiles* const files_;
  const Engine* const engine_;
  WorkerPool* const pool_;
  Metrics* const metrics_;
  Transfers* const transfers_;
};

class CatalogService final : public v1::Catalog::CallbackService {
 public:
  CatalogService(ComponentRegistry* components, WorkerPool* pool, Metrics* metrics)
      : components_(components), pool_(pool), metrics_(metrics) {}
  grpc::ServerUnaryReactor* ListComponents(grpc::CallbackServerContext* context,
                                           const v1::ListComponentsRequest* request,
                                           v1::ListComponentsResponse* response) override;
  grpc::ServerUnaryReactor* RegisterComponent(grpc::CallbackServerContext* context,
                                              const v1::RegisterComponentRequest* request,
                                              v1::CustomComponentInfo* response) override;
  grpc::ServerUnaryReactor* GetComponent(grpc::CallbackServerContext* context, const v1::GetComponentRequest* request,
                                         v1::CustomComponentInfo* response) override;
  grpc::ServerUnaryReactor* DeleteComponent(grpc::CallbackServerContext* context,
                                            const v1::DeleteComponentRequest* request,
                                            v1::DeleteComponentResponse* response) override;

 private:
  ComponentRegistry* const components_;
  WorkerPool* const pool_;
  Metrics* const metrics_;
};

}  // namespace strata::service
