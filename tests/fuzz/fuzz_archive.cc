// Any bytes as a .keras archive: refused, or read within the limits, and nothing is written but the scratch file.
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "service/files/containers.h"
#include "tests/fuzz/check_read.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata::service;
  const std::string path = absl::StrCat("/tmp/strata_fuzz_", getpid(), ".zip"), scratch = path + ".h5";
  {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  }
  const ContainerLimits limits{.max_tensor_bytes = 1 << 20, .max_objects = 2000};
  const auto read = ReadArchive(path, scratch, limits);
  ::unlink(path.c_str());
  ::unlink(scratch.c_str());
  CheckRead(read, limits);
  return 0;
}
