#include "tests/e2e/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <utility>

namespace strata::e2e {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

constexpr int kTicksPerSecond = 100;
void Tick() { ::usleep(1000000 / kTicksPerSecond); }

std::vector<std::string> ServerCommand(const std::string& data_dir, const std::string& grpc,
                                       const std::vector<std::string>& more) {
  std::vector<std::string> command{STRATA_BIN "/strata-server", "--grpc_address=" + grpc, "--http_address=127.0.0.1:0",
                                   "--data_dir=" + data_dir, "--threads=2"};
  command.insert(command.end(), more.begin(), more.end());
  return command;
}

std::string Field(const std::string& line, const std::string& name) {
  const size_t at = line.find(name + "=");
  if (at == std::string::npos) return "";
  const size_t begin = at + name.size() + 1;
  return line.substr(begin, line.find(' ', begin) - begin);
}

}  // namespace

Process::Process(const std::vector<std::string>& command, std::string log) : log_(std::move(log)) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const std::string out = log_ + ".out", err = log_ + ".err";
  pid_ = ::fork();
  if (pid_ != 0) return;
  const int out_fd = ::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  const int err_fd = ::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  ::dup2(out_fd, STDOUT_FILENO);
  ::dup2(err_fd, STDERR_FILENO);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

Process::~Process() {
  if (ended_) return;
  ::kill(pid_, SIGKILL);
  Wait(10);
}

void Process::Signal(int signal) { ::kill(pid_, signal); }

int Process::Wait(int seconds) {
  for (int i = 0; !ended_ && i <= seconds * kTicksPerSecond; ++i) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      ended_ = true;
      code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    } else {
      Tick();
    }
  }
  return code_;
}

std::string Process::AwaitLine(const std::string& prefix, int seconds) {
  for (int i = 0; i <= seconds * kTicksPerSecond; ++i) {
    const bool ended = Wait(0) != -1;
    std::istringstream lines(Output());
    for (std::string line; std::getline(lines, line);) {
      if (line.rfind(prefix, 0) == 0) return line;
    }
    if (ended) break;
    Tick();
  }
  return "";
}

std::string Process::Output() const { return ReadFile(log_ + ".out"); }
std::string Process::Errors() const { return ReadFile(log_ + ".err"); }

ServerProcess::ServerProcess(const std::string& data_dir, const std::string& log, const std::string& grpc,
                             const std::vector<std::string>& more)
    : process_(ServerCommand(data_dir, grpc, more), log) {
  const std::string line = process_.AwaitLine("strata-server ready:", 30);
  grpc_ = Field(line, "grpc");
  http_ = Field(line, "http");
}

}  // namespace strata::e2e
