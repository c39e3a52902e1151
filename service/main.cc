// strata-server: trains and serves neural networks over gRPC.
//
// Prints one line when it is ready: "strata-server ready: grpc=HOST:PORT http=HOST:PORT". SIGTERM and SIGINT end it in
// order; a second one ends it at once. Exit codes: 0 ended in order, 1 could not start, 2 wrong arguments.

#include <sys/resource.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/base/heap.h"
#include "service/arguments.h"
#include "service/server.h"

ABSL_FLAG(std::string, grpc_address, "127.0.0.1:8001", "HOST:PORT of the gRPC services; port 0 picks a free one");
ABSL_FLAG(std::string, http_address, "127.0.0.1:8002", "HOST:PORT of /metrics; port 0 picks a free one; empty: none");
ABSL_FLAG(std::string, data_dir, "", "Folder of the registry, checkpoints and versions; one server owns it");
ABSL_FLAG(int, threads, 0, "Threads of one training step; 0: one for each processor");
ABSL_FLAG(int, inference_threads, 0, "Predictions that run at a time; 0: one for each processor");
ABSL_FLAG(int, training_executors, 1, "Runs that train at a time, each with --threads threads; others take turns");
ABSL_FLAG(int, window, 8, "Unanswered batches that a client may have");
ABSL_FLAG(int, max_active_runs, 16, "Runs that have a client at a time");
ABSL_FLAG(int, max_message_mb, 256, "Largest message, in MiB");
ABSL_FLAG(int, grpc_memory_mb, 4096, "Memory of all messages on their way, in MiB; calls beyond it are refused");
ABSL_FLAG(int, max_transfers, 8, "Imports and exports of files at a time");
ABSL_FLAG(int, import_memory_mb, 4096, "Files of all imports on their way, in MiB; imports beyond it are refused");
ABSL_FLAG(absl::Duration, transfer_silence, absl::Seconds(60),
          "How long the client of an import or export may neither send nor take anything");
ABSL_FLAG(absl::Duration, transfer_longest, absl::Hours(1), "How long an import or export may take");
ABSL_FLAG(int, max_batch_rows, 128, "Rows of predictions that run together");
ABSL_FLAG(absl::Duration, max_batch_delay, absl::ZeroDuration(),
          "How long a request waits for company although a worker is free");
ABSL_FLAG(int, max_queued_requests, 1024, "Predictions that may wait");
ABSL_FLAG(absl::Duration, lame_duck, absl::ZeroDuration(),
          "How long requests are still taken after SIGTERM, while health says NOT_SERVING");
ABSL_FLAG(absl::Duration, drain, absl::Seconds(20), "How long calls and checkpoints may take at the end");

namespace {

void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

strata::service::ServerOptions OptionsFromFlags() {
  return {.grpc_address = absl::GetFlag(FLAGS_grpc_address),
          .http_address = absl::GetFlag(FLAGS_http_address),
          .data_dir = absl::GetFlag(FLAGS_data_dir),
          .threads = absl::GetFlag(FLAGS_threads),
          .inference_threads = absl::GetFlag(FLAGS_inference_threads),
          .training_executors = absl::GetFlag(FLAGS_training_executors),
          .window = absl::GetFlag(FLAGS_window),
          .max_active_runs = absl::GetFlag(FLAGS_max_active_runs),
          .max_message_bytes = int64_t{absl::GetFlag(FLAGS_max_message_mb)} << 20,
          .grpc_memory_bytes = int64_t{absl::GetFlag(FLAGS_grpc_memory_mb)} << 20,
          .max_transfers = absl::GetFlag(FLAGS_max_transfers),
          .import_memory_bytes = int64_t{absl::GetFlag(FLAGS_import_memory_mb)} << 20,
          .transfer_silence = absl::GetFlag(FLAGS_transfer_silence),
          .transfer_longest = absl::GetFlag(FLAGS_transfer_longest),
          .max_batch_rows = absl::GetFlag(FLAGS_max_batch_rows),
          .max_batch_delay = absl::GetFlag(FLAGS_max_batch_delay),
          .max_queued_requests = static_cast<size_t>(absl::GetFlag(FLAGS_max_queued_requests)),
          .lame_duck = absl::GetFlag(FLAGS_lame_duck),
          .drain = absl::GetFlag(FLAGS_drain)};
}

struct Range {
  const char* name;
  int value, least, most;
};

// A value out of its range; empty: none.
std::string BadValue() {
  if (absl::GetFlag(FLAGS_data_dir).empty()) return "--data_dir must be given";
  constexpr int kMaxThreads = 1024;
  const int message_mb = absl::GetFlag(FLAGS_max_message_mb);
  const Range kRanges[] = {
      {"threads", absl::GetFlag(FLAGS_threads), 0, kMaxThreads},
      {"inference_threads", absl::GetFlag(FLAGS_inference_threads), 0, kMaxThreads},
      {"training_executors", absl::GetFlag(FLAGS_training_executors), 1, kMaxThreads},
      {"window", absl::GetFlag(FLAGS_window), 1, 4096},
      {"max_active_runs", absl::GetFlag(FLAGS_max_active_runs), 1, INT_MAX},
      {"max_message_mb", message_mb, 1, 2047},
      {"grpc_memory_mb", absl::GetFlag(FLAGS_grpc_memory_mb), message_mb, INT_MAX},
      {"max_transfers", absl::GetFlag(FLAGS_max_transfers), 1, INT_MAX},
      {"import_memory_mb", absl::GetFlag(FLAGS_import_memory_mb), 1, INT_MAX},
      {"max_batch_rows", absl::GetFlag(FLAGS_max_batch_rows), 1, INT_MAX},
      {"max_queued_requests", absl::GetFlag(FLAGS_max_queued_requests), 1, INT_MAX},
  };
  for (const Range& r : kRanges) {
    if (r.value >= r.least && r.value <= r.most) continue;
    return absl::StrCat("--", r.name, " must be in [", r.least, ", ", r.most, "], got ", r.value);
  }
  const std::pair<const char*, absl::Duration> kDurations[] = {
      {"max_batch_delay", absl::GetFlag(FLAGS_max_batch_delay)},
      {"lame_duck", absl::GetFlag(FLAGS_lame_duck)},
      {"drain", absl::GetFlag(FLAGS_drain)},
  };
  for (const auto& [name, value] : kDurations) {
    if (value >= absl::ZeroDuration() && value < absl::InfiniteDuration()) continue;
    return absl::StrCat("--", name, " must be >= 0s and finite, got ", absl::FormatDuration(value));
  }
  const std::pair<const char*, absl::Duration> kPositive[] = {
      {"transfer_silence", absl::GetFlag(FLAGS_transfer_silence)},
      {"transfer_longest", absl::GetFlag(FLAGS_transfer_longest)},
  };
  for (const auto& [name, value] : kPositive) {
    if (value > absl::ZeroDuration()) continue;
    return absl::StrCat("--", name, " must be > 0s, got ", absl::FormatDuration(value));
  }
  return "";
}

}  // namespace

int main(int argc, char** argv) {
  if (const auto code = strata::service::AnswerArguments(argc, argv, "service/main.cc")) return *code;
  absl::ParseCommandLine(argc, argv);
  if (const std::string bad = BadValue(); !bad.empty()) {
    std::fprintf(stderr, "strata-server: %s\n", bad.c_str());
    return 2;
  }
  RaiseFileLimit();
  strata::KeepFreedMemory();

  // One thread waits for signals; all others, started after this, have them blocked.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  auto server = strata::service::Server::Start(OptionsFromFlags(), strata::service::MakeRealEngine());
  if (!server.ok()) {
    std::fprintf(stderr, "strata-server: %s\n", std::string(server.status().message()).c_str());
    return 1;
  }
  std::printf("strata-server ready: grpc=%s http=%s\n", (*server)->grpc_address().c_str(),
              (*server)->http_address().c_str());
  std::fflush(stdout);

  int signal = 0;
  sigwait(&signals, &signal);
  std::fprintf(stderr, "strata-server: stopping\n");
  std::thread([signals] {
    int second = 0;
    sigwait(&signals, &second);
    _exit(1);
  }).detach();
  (*server)->Shutdown();
  std::fprintf(stderr, "strata-server: stopped\n");
  // All is durable. What is left is the metrics endpoint, whose library takes two seconds to stop.
  _exit(0);
}
