// strata-file: translates container formats, in a process of its own so that a hostile file harms nothing.
//
//   strata-file unpack IN OUT     HDF5 or .keras -> safetensors (containers.h has the names)
//   strata-file pack IN OUT       the other way; IN's metadata "container" is "hdf5" or "keras"
//
// One line on standard error and exit code 1 if it fails: "CODE: message"; exit code 3 if the disk is full. Limits of
// memory, time and size are set before anything is read.
#include <hdf5.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/files/containers.h"
#include "service/files/write_error.h"

namespace strata::service {
namespace {

constexpr uint64_t kSpareBytes = uint64_t{512} << 20;
constexpr rlim_t kCpuSeconds = 120;

void Limit(int resource, rlim_t value) {
  const struct rlimit limit = {value, value};
  setrlimit(static_cast<__rlimit_resource>(resource), &limit);
}

absl::StatusOr<uint64_t> SizeOfFile(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return absl::NotFoundError("file: cannot be opened");
  return static_cast<uint64_t>(info.st_size);
}

absl::StatusOr<std::string> ReadBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream buffer;
  buffer << in.rdbuf();
  if (!in) return absl::DataLossError("file: cannot be read");
  return buffer.str();
}

absl::Status Unpack(const std::string& in, const std::string& out) {
  STRATA_ASSIGN_OR_RETURN(const uint64_t size, SizeOfFile(in));
  // Weights hardly compress: what claims to be much larger than its file is a bomb.
  const ContainerLimits limits{.max_tensor_bytes = 8 * size + (1 << 20)};
  Limit(RLIMIT_AS, 20 * size + kSpareBytes);
  Limit(RLIMIT_CPU, kCpuSeconds);
  Limit(RLIMIT_FSIZE, limits.max_tensor_bytes + (rlim_t{256} << 20));
  Limit(RLIMIT_CORE, 0);
  Limit(RLIMIT_NPROC, 0);
  std::ifstream head(in, std::ios::binary);
  char magic[2] = {};
  head.read(magic, 2);
  const bool zip = magic[0] == 'P' && magic[1] == 'K';
  STRATA_ASSIGN_OR_RETURN(const TensorFile file,
                          zip ? ReadArchive(in, absl::StrCat(out, ".h5"), limits) : ReadHdf5(in, limits));
  std::vector<std::string> order;
  const std::string prefix = TensorFilePrefix(file.tensors, file.metadata, &order);
  std::ofstream to(out, std::ios::binary | std::ios::trunc);
  to.write(prefix.data(), static_cast<std::streamsize>(prefix.size()));
  for (const std::string& name : order) {
    const Tensor& t = file.tensors.at(name);
    to.write(static_cast<const char*>(t.raw()), static_cast<std::streamsize>(t.size_bytes()));
  }
  return to.flush() ? absl::OkStatus() : WriteError("file: the result cannot be written");
}

absl::Status Pack(const std::string& in, const std::string& out) {
  STRATA_ASSIGN_OR_RETURN(const std::string bytes, ReadBytes(in));
  STRATA_ASSIGN_OR_RETURN(const TensorFile file, ParseTensors(bytes));
  const auto container = file.metadata.find("container");
  if (container != file.metadata.end() && container->second == "keras") {
    return WriteArchive(file, absl::StrCat(out, ".h5"), out);
  }
  return WriteHdf5(file, out);
}

int Main(int argc, char** argv) {
  const std::string what = argc == 4 ? argv[1] : "";
  if (what != "unpack" && what != "pack") {
    std::fputs("usage: strata-file unpack|pack IN OUT\n", stderr);
    return 2;
  }
  // At the end HDF5 would try again to close a file that found no room, and crash.
  H5dont_atexit();
  // Nobody waits for the result of a tool whose server has gone.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const absl::Status status = what == "unpack" ? Unpack(argv[2], argv[3]) : Pack(argv[2], argv[3]);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s: %s\n", absl::StatusCodeToString(status.code()).c_str(),
               std::string(status.message()).c_str());
  return absl::IsUnavailable(status) ? kNoRoomExit : 1;
}

}  // namespace
}  // namespace strata::service

int main(int argc, char** argv) { return strata::service::Main(argc, argv); }
