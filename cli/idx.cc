#include "cli/idx.h"

#include <zlib.h>

#include <algorithm>
#include <memory>

#include "engine/base/status.h"

namespace strata::cli {
namespace {

constexpr int kUnsignedByte = 8;
constexpr int64_t kMaxElements = int64_t{1} << 32;

struct Closer {
  void operator()(gzFile file) const { gzclose(file); }
};
using File = std::unique_ptr<gzFile_s, Closer>;

bool ReadExactly(gzFile file, uint8_t* out, int64_t num_bytes) {
  constexpr int64_t kChunk = int64_t{1} << 30;
  while (num_bytes > 0) {
    const int got = gzread(file, out, static_cast<unsigned>(std::min(num_bytes, kChunk)));
    if (got <= 0) return false;
    out += got;
    num_bytes -= got;
  }
  return true;
}

}  // namespace

absl::StatusOr<IdxFile> ReadIdx(const std::string& path) {
  File file(gzopen(path.c_str(), "rb"));
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be opened"));
  gzbuffer(file.get(), 1 << 18);

  uint8_t magic[4];
  if (!ReadExactly(file.get(), magic, 4) || magic[0] != 0 || magic[1] != 0) {
    return InvalidArgument(path, ": is no IDX file");
  }
  if (magic[2] != kUnsignedByte) return InvalidArgument(path, ": must hold unsigned bytes, got type ", magic[2]);

  IdxFile result;
  int64_t num_elements = 1;
  for (int axis = 0; axis < magic[3]; ++axis) {
    uint8_t size[4];
    if (!ReadExactly(file.get(), size, 4)) return InvalidArgument(path, ": ends within its header");
    result.shape.push_back(int64_t{size[0]} << 24 | size[1] << 16 | size[2] << 8 | size[3]);
    if (result.shape.back() > kMaxElements / std::max<int64_t>(1, num_elements)) {
      return InvalidArgument(path, ": must have at most ", kMaxElements, " elements");
    }
    num_elements *= result.shape.back();
  }
  result.data.resize(num_elements);
  if (!ReadExactly(file.get(), result.data.data(), num_elements)) {
    return InvalidArgument(path, ": ends before its ", num_elements, " elements");
  }
  return result;
}

}  // namespace strata::cli
