// Unary handlers: validate and admit on gRPC's thread, work on ours.
#pragma once

#include <grpcpp/grpcpp.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "service/core/worker_pool.h"
#include "service/obs/metrics.h"
#include "service/rpc/status.h"

namespace strata::service {

// One call's entry in the metrics. Copyable; Done is called once.
class CallRecord {
 public:
  CallRecord(Metrics* metrics, const char* method) : metrics_(metrics), method_(method), began_(absl::Now()) {
    metrics_->RpcStarted(method_);
  }
  grpc::Status Done(const absl::Status& status) const {
    metrics_->RpcHandled(method_, CodeName(status.code()), absl::Now() - began_);
    return ToGrpc(status);
  }

 private:
  Metrics* metrics_;
  const char* method_;
  absl::Time began_;
};

// Runs `body() -> absl::StatusOr<Response>` on `pool` and finishes the call with what it returns.
template <typename Response, typename Body>
grpc::ServerUnaryReactor* OnPool(grpc::CallbackServerContext* context, WorkerPool* pool, Metrics* metrics,
                                 const char* method, Response* response, Body body) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const CallRecord record(metrics, method);
  const bool added = pool->TryAdd([context, reactor, record, response, body = std::move(body)]() mutable {
    // What nobody waits for any more is not begun.
    if (context->IsCancelled()) return reactor->Finish(record.Done(absl::CancelledError("the client has gone")));
    absl::StatusOr<Response> result = body();
    if (result.ok()) *response = *std::move(result);
    reactor->Finish(record.Done(result.status()));
  });
  if (!added) {
    metrics->Rejected("queue_full");
    reactor->Finish(record.Done(absl::ResourceExhaustedError("the server has too much to do")));
  }
  return reactor;
}

}  // namespace strata::service
