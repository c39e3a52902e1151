// .keras archives: zip files with a configuration and an HDF5 file of weights.
#include <zip.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/files/containers.h"
#include "service/files/write_error.h"

namespace strata::service {
namespace {

constexpr char kWeights[] = "model.weights.h5";
constexpr zip_uint64_t kMaxMembers = 64, kMaxTextBytes = 64 << 20;

struct CloseZip {
  void operator()(zip_t* z) const { zip_discard(z); }
};
using Zip = std::unique_ptr<zip_t, CloseZip>;

// A member as bytes. Sizes that the directory states are checked before anything is inflated, and what comes out is
// counted.
absl::StatusOr<std::string> Member(zip_t* archive, zip_uint64_t index, const zip_stat_t& stat, uint64_t limit) {
  if (stat.size > limit) {
    return absl::ResourceExhaustedError(
        absl::StrCat("zip: ", stat.name, ": must have at most ", limit, " bytes, got ", stat.size));
  }
  zip_file_t* file = zip_fopen_index(archive, index, 0);
  if (file == nullptr) return absl::DataLossError(absl::StrCat("zip: ", stat.name, ": cannot be read"));
  std::string bytes(stat.size, '\0');
  uint64_t done = 0;
  while (done < stat.size) {
    const zip_int64_t n = zip_fread(file, bytes.data() + done, stat.size - done);
    if (n <= 0) break;
    done += static_cast<uint64_t>(n);
  }
  char more = 0;
  const bool whole = done == stat.size && zip_fread(file, &more, 1) == 0;
  if (zip_fclose(file) != 0 || !whole) return absl::DataLossError(absl::StrCat("zip: ", stat.name, ": is damaged"));
  return bytes;
}

}  // namespace

absl::StatusOr<TensorFile> ReadArchive(const std::string& path, const std::string& scratch,
                                       const ContainerLimits& limits) {
  int error = 0;
  const Zip archive(zip_open(path.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &error));
  if (archive == nullptr) return absl::DataLossError("zip: the archive cannot be opened: truncated or damaged");
  const zip_int64_t count = zip_get_num_entries(archive.get(), 0);
  if (count < 0 || static_cast<zip_uint64_t>(count) > kMaxMembers) {
    return InvalidArgument("zip: must have at most ", kMaxMembers, " members, got ", count);
  }
  Metadata members;
  bool weights = false;
  for (zip_int64_t i = 0; i < count; ++i) {
    zip_stat_t stat;
    const auto index = static_cast<zip_uint64_t>(i);
    constexpr zip_uint64_t kNeeded = ZIP_STAT_NAME | ZIP_STAT_SIZE;
    if (zip_stat_index(archive.get(), index, 0, &stat) != 0 || (stat.valid & kNeeded) != kNeeded) {
      return absl::DataLossError("zip: a member has no name or size");
    }
    const std::string name = stat.name;
    if (absl::StartsWith(name, "/") || absl::StrContains(name, "..") || absl::StrContains(name, "\\")) {
      return InvalidArgument("zip: names of members must stay inside the archive, got ", name);
    }
    const bool known = name == kWeights || name == "config.json" || name == "metadata.json";
    if (!known) continue;  // assets of layers that are none of ours
    if (members.count(name) != 0 || (name == kWeights && weights)) {
      return InvalidArgument("zip: names of members must be unique, got ", name, " again");
    }
    const bool is_weights = name == kWeights;
    STRATA_ASSIGN_OR_RETURN(std::string bytes,
                            Member(archive.get(), index, stat, is_weights ? limits.max_tensor_bytes : kMaxTextBytes));
    if (!is_weights) {
      members[name] = std::move(bytes);
      continue;
    }
    weights = true;
    std::ofstream out(scratch, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) return WriteError("zip: the weights cannot be unpacked");
  }
  if (members.count("config.json") == 0) return InvalidArgument("zip: must have config.json, got none");
  if (!weights) return InvalidArgument("zip: must have ", kWeights, ", got none");
  STRATA_ASSIGN_OR_RETURN(TensorFile file, ReadHdf5(scratch, limits));
  for (auto& [name, text] : members) file.metadata[absl::StrCat(kMember, name)] = std::move(text);
  return file;
}

absl::Status WriteArchive(const TensorFile& file, const std::string& scratch, const std::string& path) {
  STRATA_RETURN_IF_ERROR(WriteHdf5(file, scratch));
  std::ifstream in(scratch, std::ios::binary);
  std::stringstream buffer;
  buffer << in.rdbuf();
  const std::string weights = buffer.str();
  int error = 0;
  errno = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &error);
  if (archive == nullptr) return WriteError("zip: the archive cannot be made");
  const auto add = [&](const std::string& name, const std::string& bytes) {
    zip_source_t* source = zip_source_buffer(archive, bytes.data(), bytes.size(), 0);
    const zip_int64_t index = source == nullptr ? -1 : zip_file_add(archive, name.c_str(), source, ZIP_FL_ENC_UTF_8);
    if (index < 0) return false;
    // Stored, with one date: equal models give equal archives.
    zip_set_file_compression(archive, static_cast<zip_uint64_t>(index), ZIP_CM_STORE, 0);
    return zip_file_set_mtime(archive, static_cast<zip_uint64_t>(index), 315619200, 0) == 0;
  };
  bool good = true;
  for (const auto& [key, text] : file.metadata) {
    if (absl::StartsWith(key, kMember)) good = good && add(key.substr(sizeof(kMember) - 1), text);
  }
  good = good && add(kWeights, weights);
  if (!good) {
    zip_discard(archive);
    return absl::InternalError("zip: a member cannot be added");
  }
  if (zip_close(archive) != 0) {
    const int system = zip_error_code_system(zip_get_error(archive));
    zip_discard(archive);
    errno = system;
    return WriteError("zip: the archive cannot be written");
  }
  return absl::OkStatus();
}

}  // namespace strata::service
