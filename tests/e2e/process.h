// Child processes of a test.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace strata::e2e {

// Thread-compatible. A process that still runs is killed at the end.
class Process {
 public:
  // Output and errors go to files `log`.out and `log`.err.
  Process(const std::vector<std::string>& command, std::string log);
  ~Process();
  Process(const Process&) = delete;

  void Signal(int signal);
  // Exit code; 128 + signal if a signal ended it; -1 if it still runs after `seconds`.
  int Wait(int seconds);
  // The first line of its output that begins with `prefix`; empty if it ends, or after `seconds`.
  std::string AwaitLine(const std::string& prefix, int seconds);
  std::string Output() const;
  std::string Errors() const;
  pid_t pid() const { return pid_; }

 private:
  const std::string log_;
  pid_t pid_ = -1;
  int code_ = -1;
  bool ended_ = false;
};

// "strata-server" on a directory. Ports are picked by the system unless given.
class ServerProcess {
 public:
  ServerProcess(const std::string& data_dir, const std::string& log, const std::string& grpc = "127.0.0.1:0",
                const std::vector<std::string>& more = {});
  Process& process() { return process_; }
  const std::string& grpc() const { return grpc_; }
  const std::string& http() const { return http_; }

 private:
  Process process_;
  std::string grpc_, http_;
};

}  // namespace strata::e2e
