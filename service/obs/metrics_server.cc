#include <prometheus/exposer.h>
#include <prometheus/registry.h>

#include <exception>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/obs/metrics.h"
#include "service/obs/process.h"

namespace strata::service {

struct MetricsServer::Impl {
  // The exposer holds them weakly.
  std::shared_ptr<prometheus::Registry> registry;
  std::shared_ptr<ProcessMetrics> process = std::make_shared<ProcessMetrics>();
  std::unique_ptr<prometheus::Exposer> exposer;
};

MetricsServer::MetricsServer() : impl_(std::make_unique<Impl>()) {}
MetricsServer::~MetricsServer() = default;

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(const std::string& address,
                                                                    const Metrics& metrics) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return InvalidArgument("--http_address: must be HOST:PORT, got \"", address, "\"");
  std::unique_ptr<MetricsServer> server(new MetricsServer());
  server->impl_->registry = metrics.registry();
  // The library reports through exceptions.
  try {
    server->impl_->exposer = std::make_unique<prometheus::Exposer>(address);
    server->impl_->exposer->RegisterCollectable(server->impl_->registry);
    server->impl_->exposer->RegisterCollectable(server->impl_->process);
  } catch (const std::exception& error) {
    // The library says neither; Debian 12 builds it without IPv6.
    const char* why =
        address[0] == '[' ? "the HTTP library may know IPv4 alone; give a name or an IPv4 address" : error.what();
    return absl::UnavailableError(absl::StrCat("--http_address: cannot listen on ", address, ": ", why));
  }
  const std::vector<int> ports = server->impl_->exposer->GetListeningPorts();
  if (ports.empty()) return absl::UnavailableError(absl::StrCat("--http_address: no port is bound on ", address));
  server->address_ = absl::StrCat(address.substr(0, colon), ":", ports[0]);
  return server;
}

}  // namespace strata::service
