#include "service/store/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"
#include "service/store/header_json.h"

namespace strata::service {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors is little-endian");

constexpr std::array<std::pair<DType, absl::string_view>, 13> kTypes = {{
    {DType::kBool, "BOOL"},
    {DType::kU8, "U8"},
    {DType::kI8, "I8"},
    {DType::kI16, "I16"},
    {DType::kU16, "U16"},
    {DType::kI32, "I32"},
    {DType::kU32, "U32"},
    {DType::kI64, "I64"},
    {DType::kU64, "U64"},
    {DType::kF16, "F16"},
    {DType::kBF16, "BF16"},
    {DType::kF32, "F32"},
    {DType::kF64, "F64"},
}};
constexpr size_t kMaxRank = 16;

absl::string_view TypeText(DType dtype) {
  return std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& row) { return row.first == dtype; })->second;
}

absl::Status ParseEntry(HeaderJson& json, TensorEntry* entry) {
  std::vector<uint64_t> shape, offsets;
  std::string key, type;
  std::set<std::string> seen;
  STRATA_RETURN_IF_ERROR(json.Expect('{'));
  do {
    STRATA_RETURN_IF_ERROR(json.String(&key));
    if (!seen.insert(key).second) return json.Error("duplicate key");
    STRATA_RETURN_IF_ERROR(json.Expect(':'));
    if (key == "dtype") {
      STRATA_RETURN_IF_ERROR(json.String(&type));
    } else if (key == "shape") {
      STRATA_RETURN_IF_ERROR(json.UnsignedList(&shape));
    } else if (key == "data_offsets") {
      STRATA_RETURN_IF_ERROR(json.UnsignedList(&offsets));
    } else {
      return json.Error("unknown key of a tensor");
    }
  } while (json.Take(','));
  STRATA_RETURN_IF_ERROR(json.Expect('}'));
  if (seen.size() != 3) return json.Error("a tensor needs dtype, shape and data_offsets");
  if (offsets.size() != 2) return json.Error("data_offsets must have two numbers");
  if (shape.size() > kMaxRank) return json.Error("too many axes");
  const auto row = std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& r) { return r.second == type; });
  if (row == kTypes.end()) return absl::UnimplementedError("safetensors header: element type is not supported");

  uint64_t size = SizeOf(row->first);
  for (const uint64_t d : shape) {
    if (d > uint64_t{1} << 48 || __builtin_mul_overflow(size, d, &size)) return json.Error("shape overflows");
    entry->shape.push_back(static_cast<int64_t>(d));
  }
  entry->dtype = row->first;
  entry->begin = offsets[0];
  entry->end = offsets[1];
  if (entry->end < entry->begin) return json.Error("data_offsets run backwards");
  if (entry->end - entry->begin != size) return json.Error("data_offsets do not fit dtype and shape");
  return absl::OkStatus();
}

absl::Status ParseMetadata(HeaderJson& json, Metadata* metadata) {
  STRATA_RETURN_IF_ERROR(json.Expect('{'));
  if (json.Take('}')) return absl::OkStatus();
  std::string key, value;
  do {
    STRATA_RETURN_IF_ERROR(json.String(&key));
    STRATA_RETURN_IF_ERROR(json.Expect(':'));
    STRATA_RETURN_IF_ERROR(json.String(&value));
    if (!metadata->emplace(key, value).second) return json.Error("duplicate key");
  } while (json.Take(','));
  return json.Expect('}');
}

std::string JsonString(absl::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppend(&out, "\\u", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad4));
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
  return out;
}

}  // namespace

absl::StatusOr<TensorHeader> ParseTensorHeader(absl::string_view header, uint64_t data_bytes) {
  HeaderJson json(header);
  if (header.empty() || header[0] != '{') return json.Error("must start with '{'");
  if (!IsUtf8(header)) return json.Error("not UTF-8");
  TensorHeader result;
  std::set<std::string> names;
  STRATA_RETURN_IF_ERROR(json.Expect('{'));
  if (!json.Take('}')) {
    do {
      std::string name;
      STRATA_RETURN_IF_ERROR(json.String(&name));
      if (!names.insert(name).second) return json.Error("duplicate key");
      STRATA_RETURN_IF_ERROR(json.Expect(':'));
      if (name == "__metadata__") {
        STRATA_RETURN_IF_ERROR(ParseMetadata(json, &result.metadata));
        continue;
      }
      TensorEntry entry{.name = name};
      STRATA_RETURN_IF_ERROR(ParseEntry(json, &entry));
      result.entries.push_back(std::move(entry));
    } while (json.Take(','));
    STRATA_RETURN_IF_ERROR(json.Expect('}'));
  }
  STRATA_RETURN_IF_ERROR(json.End());

  // A tensor without elements sorts before the one that begins where it stands.
  std::sort(result.entries.begin(), result.entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  uint64_t end = 0;
  for (const TensorEntry& e : result.entries) {
    if (e.begin != end) return absl::DataLossError("safetensors header: tensors overlap or leave a hole");
    end = e.end;
  }
  if (end != data_bytes && data_bytes != kAnySize)
    return absl::DataLossError(
        absl::StrCat("safetensors: tensors need ", end, " bytes of data, the file has ", data_bytes));
  return result;
}

absl::StatusOr<TensorFile> ParseTensors(absl::string_view bytes) {
  uint64_t header_bytes = 0;
  if (bytes.size() < sizeof(header_bytes)) return absl::DataLossError("safetensors: shorter than 8 bytes");
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  if (header_bytes > kMaxHeaderBytes) return absl::DataLossError("safetensors: header too large");
  if (header_bytes > bytes.size() - 8) return absl::DataLossError("safetensors: header longer than the file");
  const absl::string_view data = bytes.substr(8 + header_bytes);
  STRATA_ASSIGN_OR_RETURN(TensorHeader header, ParseTensorHeader(bytes.substr(8, header_bytes), data.size()));
  TensorFile file{.metadata = std::move(header.metadata)};
  for (const TensorEntry& e : header.entries) {
    Tensor tensor(e.dtype, e.shape);
    if (e.end > e.begin) std::memcpy(tensor.raw(), data.data() + e.begin, e.end - e.begin);
    file.tensors.emplace(e.name, std::move(tensor));
  }
  return file;
}

NamedViews ViewsOf(const NamedTensors& tensors) {
  NamedViews views;
  for (const auto& [name, tensor] : tensors) views[name] = tensor.view();
  return views;
}

std::string TensorFilePrefix(const NamedTensors& tensors, const Metadata& metadata, std::vector<std::string>* order) {
  return TensorFilePrefix(ViewsOf(tensors), metadata, order);
}

std::string TensorFilePrefix(const NamedViews& tensors, const Metadata& metadata, std::vector<std::string>* order) {
  order->clear();
  for (const auto& [name, tensor] : tensors) order->push_back(name);
  std::stable_sort(order->begin(), order->end(), [&](const std::string& a, const std::string& b) {
    return SizeOf(tensors.at(a).dtype) > SizeOf(tensors.at(b).dtype);
  });
  std::vector<std::string> parts;
  if (!metadata.empty()) {
    std::vector<std::string> pairs;
    for (const auto& [key, value] : metadata) pairs.push_back(absl::StrCat(JsonString(key), ":", JsonString(value)));
    parts.push_back(absl::StrCat("\"__metadata__\":{", absl::StrJoin(pairs, ","), "}"));
  }
  uint64_t offset = 0;
  for (const std::string& name : *order) {
    const TensorView& t = tensors.at(name);
    parts.push_back(absl::StrCat(JsonString(name), ":{\"dtype\":\"", TypeText(t.dtype), "\",\"shape\":[",
                                 absl::StrJoin(t.shape, ","), "],\"data_offsets\":[", offset, ",",
                                 offset + t.size_bytes(), "]}"));
    offset += t.size_bytes();
  }
  std::string header = absl::StrCat("{", absl::StrJoin(parts, ","), "}");
  header.append((8 - header.size() % 8) % 8, ' ');
  const uint64_t length = header.size();
  std::string prefix(sizeof(length), '\0');
  std::memcpy(prefix.data(), &length, sizeof(length));
  return prefix + header;
}

}  // namespace strata::service
