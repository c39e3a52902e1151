#include "service/rpc/training.h"

#include "service/rpc/unary.h"

namespace strata::service {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

TrainStreamReactor* TrainingService::Train(CallbackServerContext*) { return MakeTrainReactor(runs_, pool_, metrics_); }

ServerUnaryReactor* TrainingService::GetRun(CallbackServerContext* context, const v1::GetRunRequest* request,
                                            v1::RunInfo* response) {
  return OnPool(context, pool_, metrics_, "Training/GetRun", response,
                [this, request]() -> absl::StatusOr<v1::RunInfo> {
                  const auto run = runs_->Find(request->run());
                  if (!run.ok()) return run.status();
                  return (*run)->Info();
                });
}

ServerUnaryReactor* TrainingService::ListRuns(CallbackServerContext* context, const v1::ListRunsRequest* request,
                                              v1::ListRunsResponse* response) {
  return OnPool(context, pool_, metrics_, "Training/ListRuns", response,
                [this, request] { return runs_->List(*request); });
}

// Answered by the run's thread, so none of ours waits for it.
ServerUnaryReactor* TrainingService::CancelRun(CallbackServerContext* context, const v1::CancelRunRequest* request,
                                               v1::RunInfo* response) {
  ServerUnaryReactor* reactor = context->DefaultReactor();
  const CallRecord record(metrics_, "Training/CancelRun");
  const auto run = runs_->Find(request->run());
  if (!run.ok()) {
    reactor->Finish(record.Done(run.status()));
    return reactor;
  }
  (*run)->Cancel([reactor, record, response](absl::StatusOr<v1::RunInfo> info) {
    if (info.ok()) *response = *std::move(info);
    reactor->Finish(record.Done(info.status()));
  });
  return reactor;
}

grpc::ServerWriteReactor<v1::RunEvent>* TrainingService::WatchRun(CallbackServerContext*,
                                                                  const v1::WatchRunRequest* request) {
  return MakeWatchReactor(runs_, pool_, metrics_, *request);
}

}  // namespace strata::service
