#include "service/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/status.h"
#include "service/rpc/health.h"
#include "service/rpc/inference.h"
#include "service/rpc/models.h"
#include "service/rpc/training.h"
#include "service/rpc/unreadable.h"

namespace strata::service {

std::string ServerVersion() { return "0.1.0"; }

namespace {

constexpr const char* kServices[] = {"", "strata.v1.Catalog", "strata.v1.Models", "strata.v1.Training",
                                     "inference.GRPCInferenceService"};

int Processors(int asked) {
  return asked > 0 ? asked : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// gRPC makes a port of 16 bits of any number, and takes one of its own where none is given.
absl::Status CheckAddress(const char* flag, const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = -1;
  if (colon == std::string::npos || colon == 0 || !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 ||
      port > 65535) {
    return InvalidArgument(flag, ": must be HOST:PORT, got \"", address, "\"");
  }
  return absl::OkStatus();
}

}  // namespace

// Members are destroyed from the last to the first: whoever calls is gone before whom it calls.
struct Server::Impl {
  ServerOptions options;
  std::unique_ptr<Engine> engine;
  Clock clock;
  std::unique_ptr<Metrics> metrics;
  std::unique_ptr<Store> store;
  HealthService health{{std::begin(kServices), std::end(kServices)}};
  std::unique_ptr<ComponentRegistry> components;
  std::unique_ptr<ModelRegistry> registry;
  std::unique_ptr<RunManager> runs;
  std::unique_ptr<Batcher> batcher;
  std::unique_ptr<ModelFiles> files;
  std::unique_ptr<Transfers> transfers;
  std::unique_ptr<WorkerPool> pool;
  std::atomic<bool> ready{false};
  std::unique_ptr<ModelsService> models_service;
  std::unique_ptr<CatalogService> catalog_service;
  std::unique_ptr<TrainingService> training_service;
  std::unique_ptr<InferenceService> inference_service;
  std::unique_ptr<grpc::Server> grpc_server;
  std::unique_ptr<MetricsServer> metrics_server;
  std::string grpc_address;
  std::string http_address;

  absl::Status OpenCore();
  absl::Status OpenGrpc();
};

absl::Status Server::Impl::OpenCore() {
  metrics = std::make_unique<Metrics>(Metrics::Options{.version = ServerVersion()});
  STRATA_ASSIGN_OR_RETURN(store, Store::Open(options.data_dir));
  components = std::make_unique<ComponentRegistry>(
      ComponentRegistry::Options{.store = store.get(), .engine = engine.get(), .clock = &clock});
  STRATA_RETURN_IF_ERROR(components->Load());
  registry = std::make_unique<ModelRegistry>(ModelRegistry::Options{
      .store = store.get(),
      .engine = engine.get(),
      .clock = &clock,
      .metrics = metrics.get(),
      .components = components.get(),
      .on_ready = [this](const std::string& model, bool is_ready) { health.SetModel(model, is_ready); },
      .on_gone = [this](const std::string& model) { health.RemoveModel(model); }});
  STRATA_RETURN_IF_ERROR(registry->Load());
  runs = std::make_unique<RunManager>(RunManager::Options{.store = store.get(),
                                                          .registry = registry.get(),
                                                          .engine = engine.get(),
                                                          .clock = &clock,
                                                          .metrics = metrics.get(),
                                                          .session = {.threads = Processors(options.threads)},
                                                          .executors = options.training_executors,
                                                          .max_active = options.max_active_runs,
                                                          .window = options.window,
                                                          .build = ServerVersion()});
  STRATA_RETURN_IF_ERROR(runs->Load());
  batcher = std::make_unique<Batcher>(Batcher::Options{.threads = Processors(options.inference_threads),
                                                       .max_rows = options.max_batch_rows,
                                                       .max_delay = options.max_batch_delay,
                                                       .max_requests = options.max_queued_requests,
                                                       .metrics = metrics.get()});
  pool = std::make_unique<WorkerPool>(WorkerPool::Options{.name = "requests", .threads = 2});
  files = std::make_unique<ModelFiles>(ModelFiles::Options{.registry = registry.get(),
                                                           .runs = runs.get(),
                                                           .engine = engine.get(),
                                                           .scratch_dir = options.data_dir,
                                                           .import_bytes = options.import_memory_bytes});
  transfers = std::make_unique<Transfers>(Transfers::Options{
      .max = options.max_transfers, .silence = options.transfer_silence, .longest = options.transfer_longest});
  models_service = std::make_unique<ModelsService>(registry.get(), runs.get(), files.get(), engine.get(), pool.get(),
                                                   metrics.get(), transfers.get());
  catalog_service = std::make_unique<CatalogService>(components.get(), pool.get(), metrics.get());
  training_service = std::make_unique<TrainingService>(runs.get(), pool.get(), metrics.get());
  inference_service =
      std::make_unique<InferenceService>(InferenceService::Options{.registry = registry.get(),
                                                                   .batcher = batcher.get(),
                                                                   .pool = pool.get(),
                                                                   .metrics = metrics.get(),
                                                                   .max_rows = options.max_batch_rows,
                                                                   .version = ServerVersion(),
                                                                   .ready = [this] { return ready.load(); }});
  return absl::OkStatus();
}

absl::Status Server::Impl::OpenGrpc() {
  grpc::EnableDefaultHealthCheckService(false);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(options.grpc_address, grpc::InsecureServerCredentials(), &port);
  builder.SetMaxReceiveMessageSize(static_cast<int>(options.max_message_bytes));
  builder.SetMaxSendMessageSize(static_cast<int>(options.max_message_bytes));
  grpc::ResourceQuota quota("strata-server");
  quota.Resize(static_cast<size_t>(options.grpc_memory_bytes));
  builder.SetResourceQuota(quota);
  // A second server on the port is an error, not a partner.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 256);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 16 << 10);
  // Streams may idle between batches.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 20'000);
  // gRPC inflates a message before it looks at its size, and tensors hardly compress.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(MakeUnreadableRequests({std::begin(kServices) + 1, std::end(kServices)}));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  builder.RegisterService(models_service.get());
  builder.RegisterService(catalog_service.get());
  builder.RegisterService(training_service.get());
  builder.RegisterService(inference_service.get());
  builder.RegisterService(&health);
  grpc_server = builder.BuildAndStart();
  if (grpc_server == nullptr || port == 0) {
    return absl::UnavailableError(absl::StrCat("--grpc_address: cannot listen on ", options.grpc_address));
  }
  grpc_address = absl::StrCat(options.grpc_address.substr(0, options.grpc_address.rfind(':')), ":", port);
  return absl::OkStatus();
}

Server::Server() : impl_(std::make_unique<Impl>()) {}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, std::unique_ptr<Engine> engine) {
  std::unique_ptr<Server> server(new Server());
  Impl& impl = *server->impl_;
  STRATA_RETURN_IF_ERROR(CheckAddress("--grpc_address", options.grpc_address));
  if (!options.http_address.empty()) STRATA_RETURN_IF_ERROR(CheckAddress("--http_address", options.http_address));
  impl.options = options;
  impl.engine = std::move(engine);
  STRATA_RETURN_IF_ERROR(impl.OpenCore());
  if (!options.http_address.empty()) {
    STRATA_ASSIGN_OR_RETURN(impl.metrics_server, MetricsServer::Start(options.http_address, *impl.metrics));
    impl.http_address = impl.metrics_server->address();
  }
  STRATA_RETURN_IF_ERROR(impl.OpenGrpc());
  impl.ready = true;
  return server;
}

Server::~Server() {
  impl_->options.lame_duck = absl::ZeroDuration();
  Shutdown();
}

const std::string& Server::grpc_address() const { return impl_->grpc_address; }
const std::string& Server::http_address() const { return impl_->http_address; }
std::shared_ptr<grpc::Channel> Server::InProcessChannel() { return impl_->grpc_server->InProcessChannel({}); }
std::string Server::MetricsText() const { return impl_->metrics->Text(); }

void Server::Shutdown() {
  if (impl_->grpc_server == nullptr) return;
  impl_->ready = false;
  impl_->health.Shutdown();
  absl::SleepFor(impl_->options.lame_duck);
  const absl::Time deadline = absl::Now() + impl_->options.drain;
  if (!impl_->runs->Drain(deadline)) std::fprintf(stderr, "error: some runs could not write their last checkpoint\n");
  // gRPC would also wait for idle connections, and a client that does not look at its own keeps it for seconds.
  while (impl_->metrics->rpcs_in_flight() > 0 && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(5));
  impl_->grpc_server->Shutdown(absl::ToChronoTime(absl::Now() + absl::Milliseconds(200)));
  impl_->grpc_server->Wait();
  impl_->grpc_server = nullptr;
}

}  // namespace strata::service
