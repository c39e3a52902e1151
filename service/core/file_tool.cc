#include "service/core/file_tool.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/status.h"
#include "service/core/native_file.h"
#include "service/files/write_error.h"
#include "service/store/tensor_reader.h"

namespace strata::service {
namespace {

constexpr absl::Duration kTimeLimit = absl::Minutes(5);
constexpr size_t kPieceBytes = size_t{1} << 20;

// A folder that goes with everything in it.
class Scratch {
 public:
  explicit Scratch(const std::string& parent) : path_(absl::StrCat(parent, "/", kPrefix, "XXXXXX")) {
    ok_ = ::mkdtemp(path_.data()) != nullptr;
  }
  ~Scratch() {
    if (ok_) Remove(path_);
  }
  // The folders that a process left which was killed.
  static void Sweep(const std::string& parent) {
    std::error_code error;
    std::vector<std::string> left;
    for (std::filesystem::directory_iterator entry(parent, error), end; !error && entry != end;
         entry.increment(error)) {
      const std::string name = entry->path().filename().string();
      if (absl::StartsWith(name, kPrefix) && entry->is_directory(error)) left.push_back(entry->path().string());
    }
    for (const std::string& path : left) Remove(path);
  }
  bool ok() const { return ok_; }
  std::string File(const char* name) const { return absl::StrCat(path_, "/", name); }

 private:
  static constexpr char kPrefix[] = "files";
  static void Remove(const std::string& path) {
    for (const char* name : {"in", "out", "out.h5", "err"}) ::unlink(absl::StrCat(path, "/", name).c_str());
    ::rmdir(path.c_str());
  }

  std::string path_;
  bool ok_ = false;
};

std::string ReadWhole(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  std::string bytes;
  if (!in) return bytes;
  bytes.resize(static_cast<size_t>(in.tellg()));
  in.seekg(0);
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

// The tool stands beside whoever runs.
std::string ToolPath() {
  std::string path(4096, '\0');
  const ssize_t n = ::readlink("/proc/self/exe", path.data(), path.size());
  path.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return absl::StrCat(path.substr(0, path.rfind('/')), "/strata-file");
}

absl::Status FromToolText(const std::string& text) {
  const size_t colon = text.find(": ");
  const std::string code = text.substr(0, colon);
  std::string message = colon == std::string::npos ? text : text.substr(colon + 2);
  if (!message.empty() && message.back() == '\n') message.pop_back();
  for (const auto known : {absl::StatusCode::kInvalidArgument, absl::StatusCode::kDataLoss,
                           absl::StatusCode::kUnimplemented, absl::StatusCode::kInternal}) {
    if (code == absl::StatusCodeToString(known)) return absl::Status(known, message);
  }
  // What is too large for its file is a wrong file, not a busy server.
  if (code == absl::StatusCodeToString(absl::StatusCode::kResourceExhausted))
    return absl::InvalidArgumentError(message);
  return absl::DataLossError(absl::StrCat("file: cannot be read: ", message.empty() ? "no reason given" : message));
}

absl::Status NoRoom() { return absl::ResourceExhaustedError("file: no room on the disk for its other form"); }

// Waits for a child and kills it after the time limit.
absl::StatusOr<int> Await(pid_t child) {
  const absl::Time deadline = absl::Now() + kTimeLimit;
  int state = 0;
  for (absl::Duration pause = absl::Milliseconds(1);; pause = std::min(pause * 2, absl::Milliseconds(50))) {
    const pid_t done = ::waitpid(child, &state, WNOHANG);
    if (done == child) return state;
    if (done < 0 && errno != EINTR) return absl::InternalError("file: the reader cannot be awaited");
    if (absl::Now() > deadline) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &state, 0);
      return absl::InvalidArgumentError(
          absl::StrCat("file: must be read within ", absl::FormatDuration(kTimeLimit), ", got no end"));
    }
    absl::SleepFor(pause);
  }
}

absl::Status NoFolder() {
  return errno == ENOSPC ? NoRoom() : absl::InternalError("file: no scratch folder can be made");
}

// Makes the folder's "out" of its "in".
absl::Status RunTool(const char* verb, const Scratch& scratch) {
  const std::string tool = ToolPath(), in = scratch.File("in"), to = scratch.File("out"), errors = scratch.File("err");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  std::string name = "strata-file", what = verb, from = in, target = to;
  char* const argv[] = {name.data(), what.data(), from.data(), target.data(), nullptr};
  char* const environment[] = {nullptr};
  pid_t child = 0;
  const int failed = posix_spawn(&child, tool.c_str(), &actions, nullptr, argv, environment);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0)
    return absl::UnavailableError("file: strata-file is not beside the server: HDF5 files cannot be read");
  STRATA_ASSIGN_OR_RETURN(const int state, Await(child));
  if (!WIFEXITED(state)) {
    return absl::DataLossError(absl::StrCat("file: is damaged: its reader was stopped by signal ", WTERMSIG(state)));
  }
  if (WEXITSTATUS(state) == kNoRoomExit) return NoRoom();
  return WEXITSTATUS(state) == 0 ? absl::OkStatus() : FromToolText(ReadWhole(errors));
}

// A file of tensors that is never in memory beside them.
absl::StatusOr<TensorFile> ReadTensors(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) return absl::InternalError("file: its reader left nothing");
  const auto size = static_cast<uint64_t>(in.tellg());
  in.seekg(0);
  TensorReader reader(size, size);
  std::string piece(std::min<uint64_t>(size, kPieceBytes), '\0');
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())), in.gcount() > 0) {
    STRATA_RETURN_IF_ERROR(reader.Add({piece.data(), static_cast<size_t>(in.gcount())}));
  }
  return reader.Finish();
}

}  // namespace

FileTool::FileTool(std::string scratch_dir) : scratch_dir_(std::move(scratch_dir)) { Scratch::Sweep(scratch_dir_); }

absl::StatusOr<TensorFile> FileTool::Unpack(std::string bytes) const {
  const Scratch scratch(scratch_dir_);
  if (!scratch.ok()) return NoFolder();
  {
    std::ofstream out(scratch.File("in"), std::ios::binary);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) return NoRoom();
  }
  bytes = std::string();
  STRATA_RETURN_IF_ERROR(RunTool("unpack", scratch));
  return ReadTensors(scratch.File("out"));
}

absl::StatusOr<std::string> FileTool::Pack(TensorFile content) const {
  const Scratch scratch(scratch_dir_);
  if (!scratch.ok()) return NoFolder();
  {
    std::vector<std::string> order;
    std::ofstream out(scratch.File("in"), std::ios::binary);
    out << TensorFilePrefix(content.tensors, content.metadata, &order);
    for (const std::string& name : order) {
      const Tensor& t = content.tensors.at(name);
      out.write(static_cast<const char*>(t.raw()), static_cast<std::streamsize>(t.size_bytes()));
    }
    if (!out.flush()) return NoRoom();
  }
  content = {};
  STRATA_RETURN_IF_ERROR(RunTool("pack", scratch));
  return ReadWhole(scratch.File("out"));
}

}  // namespace strata::service
