// Any bytes as a safetensors file: refused, or read into tensors that make the same file again.

#include <cstdint>
#include <string>

#include "engine/base/status.h"
#include "service/store/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace strata::service;
  const auto file = ParseTensors({reinterpret_cast<const char*>(data), size});
  if (!file.ok()) return 0;
  std::vector<std::string> order;
  std::string again = TensorFilePrefix(file->tensors, file->metadata, &order);
  for (const std::string& name : order) {
    again.append(static_cast<const char*>(file->tensors.at(name).raw()), file->tensors.at(name).size_bytes());
  }
  const auto copy = ParseTensors(again);
  STRATA_CHECK(copy.ok());
  STRATA_CHECK(copy->tensors.size() == file->tensors.size() && copy->metadata == file->metadata);
  return 0;
}
