#include "service/rpc/unreadable.h"

#include <google/protobuf/descriptor.h>

#include <functional>
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/rpc/status.h"

namespace strata::service {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;

class UnreadableRequest final : public Interceptor {
 public:
  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      const grpc::Status status = methods->GetSendStatus();
      if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED && status.error_message().empty()) {
        methods->ModifySendStatus(ToGrpc(Unreadable()));
      }
    }
    methods->Proceed();
  }
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(const std::vector<std::string>& services) {
    for (const std::string& name : services) {
      const auto* service = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(name);
      if (service == nullptr) continue;
      for (int i = 0; i < service->method_count(); ++i) {
        methods_.insert(absl::StrCat("/", name, "/", service->method(i)->name()));
      }
    }
  }
  // None for a method that does not exist: there the same answer is the right one.
  Interceptor* CreateServerInterceptor(grpc::experimental::ServerRpcInfo* call) override {
    return methods_.count(call->method()) != 0 ? new UnreadableRequest() : nullptr;
  }

 private:
  std::set<std::string, std::less<>> methods_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeUnreadableRequests(
    const std::vector<std::string>& services) {
  return std::make_unique<Factory>(services);
}

absl::Status Unreadable() {
  return InvalidArgument("request: must be the method's message with texts in UTF-8, got bytes that do not parse");
}

}  // namespace strata::service
