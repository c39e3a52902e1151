// The whole server: store, registry, runs, batcher and metrics behind one gRPC port and one HTTP port.
//
//   STRATA_ASSIGN_OR_RETURN(auto server, Server::Start({.data_dir = dir}, MakeRealEngine()));
//   ... server->grpc_address() ...
//   server->Shutdown();
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "service/core/engine.h"

namespace grpc {
class Channel;
}

namespace strata::service {

struct ServerOptions {
  std::string grpc_address = "127.0.0.1:8001";  // port 0 picks a free one
  std::string http_address = "127.0.0.1:8002";  // /metrics; empty: none
  std::string data_dir;
  // Threads of one training step, and of all predictions together (one each). 0: the number of processors.
  int threads = 0;
  int inference_threads = 0;
  int training_executors = 1;
  int window = 8;
  int max_active_runs = 16;
  int64_t max_message_bytes = int64_t{256} << 20;
  // Of all messages that gRPC holds; beyond it calls are refused.
  int64_t grpc_memory_bytes = int64_t{4} << 30;
  // Imports and exports of files at a time, and how long their clients may be silent.
  int max_transfers = 8;
  int64_t import_memory_bytes = int64_t{4} << 30;  // files of all imports on their way
  absl::Duration transfer_silence = absl::Seconds(60);
  absl::Duration transfer_longest = absl::Hours(1);
  int64_t max_batch_rows = 128;
  absl::Duration max_batch_delay = absl::ZeroDuration();
  size_t max_queued_requests = 1024;
  // How long the server still takes requests after it says that it is not ready, so that balancers notice.
  absl::Duration lame_duck = absl::ZeroDuration();
  // How long calls that are going on, and the checkpoints of runs, may take at the end.
  absl::Duration drain = absl::Seconds(20);
};

// Thread-safe.
class Server {
 public:
  // FAILED_PRECONDITION if another process has the data directory, UNAVAILABLE if an address is taken, DATA_LOSS if the
  // registry is damaged.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, std::unique_ptr<Engine> engine);
  // As Shutdown without the lame duck.
  ~Server();

  // HOST:PORT with the ports that were bound.
  const std::string& grpc_address() const;
  const std::string& http_address() const;

  // A channel within the process.
  std::shared_ptr<grpc::Channel> InProcessChannel();
  // What a scrape would get (without the process's own figures).
  std::string MetricsText() const;

  // Not ready, lame duck, checkpoints, end of calls. Returns when all is durable and no call is left; /metrics still
  // answers.
  void Shutdown();

 private:
  Server();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "0.1.0", and what checkpoints are stamped with.
std::string ServerVersion();

}  // namespace strata::service
