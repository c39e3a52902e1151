#include "service/rpc/health.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "service/core/names.h"
#include "service/rpc/status.h"

namespace strata::service {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// Everything happens under the service's mutex. A status that changes while a write is on its way follows it; of
// several the last.
class HealthService::Watcher final : public grpc::ServerWriteReactor<HealthCheckResponse> {
 public:
  Watcher(HealthService* health, std::string name) : health_(health), name_(std::move(name)) {
    absl::MutexLock lock(&health_->mutex_);
    health_->watchers_.insert(this);
    Tell(health_->StatusOf(name_));
  }

  const std::string& name() const { return name_; }

  // Under the service's mutex.
  void Tell(Status status) {
    wanted_ = status;
    if (writing_ || over_ || (told_ && message_.status() == wanted_)) return;
    writing_ = told_ = true;
    message_.set_status(wanted_);
    StartWrite(&message_);
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&health_->mutex_);
    writing_ = false;
    if (ok) {
      Tell(wanted_);
    } else {
      End();
    }
  }
  void OnCancel() override {
    absl::MutexLock lock(&health_->mutex_);
    End();
  }
  void OnDone() override {
    {
      absl::MutexLock lock(&health_->mutex_);
      health_->watchers_.erase(this);
    }
    delete this;
  }

 private:
  void End() {
    if (!over_) Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the client has gone"));
    over_ = true;
  }

  HealthService* const health_;
  const std::string name_;
  HealthCheckResponse message_;  // on its way, or the last that was
  Status wanted_ = HealthCheckResponse::UNKNOWN;
  bool told_ = false, writing_ = false, over_ = false;
};

HealthService::HealthService(const std::vector<std::string>& services) : services_(services.begin(), services.end()) {}
HealthService::~HealthService() = default;

HealthService::Status HealthService::StatusOf(const std::string& name) const {
  const auto model = models_.find(name);
  if (services_.count(name) == 0 && model == models_.end()) return HealthCheckResponse::SERVICE_UNKNOWN;
  const bool serves = !over_ && (services_.count(name) != 0 || model->second);
  return serves ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

void HealthService::Tell(const std::string& name) {
  for (Watcher* watcher : watchers_) {
    if (watcher->name() == name) watcher->Tell(StatusOf(name));
  }
}

void HealthService::SetModel(const std::string& model, bool ready) {
  absl::MutexLock lock(&mutex_);
  models_[model] = ready;
  Tell(model);
}

void HealthService::RemoveModel(const std::string& model) {
  absl::MutexLock lock(&mutex_);
  models_.erase(model);
  Tell(model);
}

void HealthService::Shutdown() {
  absl::MutexLock lock(&mutex_);
  over_ = true;
  for (Watcher* watcher : watchers_) watcher->Tell(StatusOf(watcher->name()));
}

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context, const HealthCheckRequest* request,
                                               HealthCheckResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  Status status;
  {
    absl::MutexLock lock(&mutex_);
    status = StatusOf(request->service());
  }
  response->set_status(status);
  reactor->Finish(status == HealthCheckResponse::SERVICE_UNKNOWN
                      ? ToGrpc(absl::NotFoundError(
                            absl::StrCat("service: must be a service or a model, got ", Quote(request->service()))))
                      : grpc::Status::OK);
  return reactor;
}

grpc::ServerWriteReactor<HealthCheckResponse>* HealthService::Watch(grpc::CallbackServerContext*,
                                                                    const HealthCheckRequest* request) {
  return new Watcher(this, request->service());
}

}  // namespace strata::service
