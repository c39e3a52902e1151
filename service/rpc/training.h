// strata.v1.Training over gRPC.
#pragma once

#include <grpcpp/grpcpp.h>

#include "service/core/run_manager.h"
#include "service/core/worker_pool.h"
#include "strata/v1/services.grpc.pb.h"

namespace strata::service {

// Train takes and gives bytes: a message that does not parse could not be told from the end of the stream otherwise.
using TrainingMethods = v1::Training::WithRawCallbackMethod_Train<
    v1::Training::WithCallbackMethod_GetRun<v1::Training::WithCallbackMethod_ListRuns<
        v1::Training::WithCallbackMethod_CancelRun<v1::Training::WithCallbackMethod_WatchRun<v1::Training::Service>>>>>;
using TrainStreamReactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

class TrainingService final : public TrainingMethods {
 public:
  TrainingService(RunManager* runs, WorkerPool* pool, Metrics* metrics) : runs_(runs), pool_(pool), metrics_(metrics) {}

  TrainStreamReactor* Train(grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* GetRun(grpc::CallbackServerContext* context, const v1::GetRunRequest* request,
                                   v1::RunInfo* response) override;
  grpc::ServerUnaryReactor* ListRuns(grpc::CallbackServerContext* context, const v1::ListRunsRequest* request,
                                     v1::ListRunsResponse* response) override;
  grpc::ServerUnaryReactor* CancelRun(grpc::CallbackServerContext* context, const v1::CancelRunRequest* request,
                                      v1::RunInfo* response) override;
  grpc::ServerWriteReactor<v1::RunEvent>* WatchRun(grpc::CallbackServerContext* context,
                                                   const v1::WatchRunRequest* request) override;

 private:
  RunManager* const runs_;
  WorkerPool* const pool_;
  Metrics* const metrics_;
};

// The reactors of the two streams, in files of their own.
TrainStreamReactor* MakeTrainReactor(RunManager* runs, WorkerPool* pool, Metrics* metrics);
grpc::ServerWriteReactor<v1::RunEvent>* MakeWatchReactor(RunManager* runs, WorkerPool* pool, Metrics* metrics,
                                                         const v1::WatchRunRequest& request);

}  // namespace strata::service
