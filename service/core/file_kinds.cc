#include "service/core/file_kinds.h"

#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "engine/base/status.h"

namespace strata::service {
namespace {

constexpr absl::string_view kHdf5("\x89HDF\r\n\x1a\n", 8);
constexpr absl::string_view kZip("PK\x03\x04", 4);
constexpr char kNativeVersion[] = "strata.version";

absl::Status RefusePickle() {
  return absl::InvalidArgumentError(
      "file: must not be pickled (reading it would execute code), got a pickle; convert it where you trust it: "
      "python -c \"import torch, safetensors.torch as s; s.save_file(torch.load('model.pt', weights_only=True), "
      "'model.safetensors')\"");
}

// A pickle begins with its protocol, 2 to 5.
bool IsPickle(absl::string_view bytes) {
  return bytes.size() >= 2 && bytes[0] == '\x80' && bytes[1] >= 2 && bytes[1] <= 5;
}

absl::StatusOr<v1::FileFormat> KindOfJson(absl::string_view bytes) {
  const auto json = nlohmann::json::parse(bytes.begin(), bytes.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError("file: must be a JSON object, got something else");
  if (!json.contains("class_name")) return v1::DEFINITION;
  // Both frameworks have Sequential: Keras' texts name the library, or its layers' modules and batch shapes.
  if (json.contains("keras_version") || json.contains("backend") || json.contains("module"))
    return v1::KERAS_DEFINITION;
  return json["class_name"] == "Functional" ? v1::KERAS_DEFINITION : v1::PYTORCH_DEFINITION;
}

// A header's length, then the header: no other format has a small number there and a brace behind it. Its first bytes
// may look like a pickle's or like white space.
bool IsTensors(absl::string_view bytes, uint64_t size, uint64_t* header) {
  if (bytes.size() <= 8 || bytes[8] != '{') return false;
  std::memcpy(header, bytes.data(), 8);
  return *header <= size - 8;
}

}  // namespace

bool LooksLikeTensors(absl::string_view start, uint64_t size) {
  uint64_t header = 0;
  return IsTensors(start, size == 0 ? kMaxHeaderBytes : size, &header);
}

v1::FileFormat KindOfTensors(const Metadata& metadata) {
  return metadata.count(kNativeVersion) != 0 ? v1::NATIVE : v1::PYTORCH_STATE_DICT;
}

absl::StatusOr<v1::FileFormat> RecognizeFile(absl::string_view bytes) {
  if (bytes.empty()) return absl::InvalidArgumentError("file: must not be empty, got no bytes");
  if (absl::StartsWith(bytes, kHdf5)) return v1::KERAS_HDF5;
  if (IsPickle(bytes)) return RefusePickle();
  if (absl::StartsWith(bytes, kZip)) {
    // torch.save writes a zip whose first entry is <name>/data.pkl.
    return absl::StrContains(bytes.substr(0, 512), ".pkl") ? absl::StatusOr<v1::FileFormat>(RefusePickle())
                                                           : v1::KERAS_ARCHIVE;
  }
  const size_t first = bytes.find_first_not_of(" \t\r\n");
  if (first != absl::string_view::npos && bytes[first] == '{') return KindOfJson(bytes);
  if (bytes.size() > 8 && bytes[8] == '{') return absl::DataLossError("safetensors: header longer than the file");
  return absl::InvalidArgumentError("file: must be safetensors, HDF5, a .keras archive or JSON, got something else");
}

}  // namespace strata::service
