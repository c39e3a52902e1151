#include "service/core/wire.h"

#include <array>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "service/core/names.h"

namespace strata::service {
namespace {

struct TypeRow {
  DType dtype;
  v1::DataType wire;
  absl::string_view oip;
};

constexpr std::array<TypeRow, 14> kTypes = {{
    {DType::kBool, v1::BOOL, "BOOL"},
    {DType::kU8, v1::UINT8, "UINT8"},
    {DType::kI8, v1::INT8, "INT8"},
    {DType::kI16, v1::INT16, "INT16"},
    {DType::kU16, v1::UINT16, "UINT16"},
    {DType::kI32, v1::INT32, "INT32"},
    {DType::kU32, v1::UINT32, "UINT32"},
    {DType::kI64, v1::INT64, "INT64"},
    {DType::kU64, v1::UINT64, "UINT64"},
    {DType::kF16, v1::FLOAT16, "FP16"},
    {DType::kBF16, v1::BFLOAT16, "BF16"},
    {DType::kF32, v1::FLOAT32, "FP32"},
    {DType::kF64, v1::FLOAT64, "FP64"},
    {DType::kText, v1::BYTES, "BYTES"},
}};

constexpr size_t kMaxRank = 16;
constexpr int kMaxTensors = 1024;

}  // namespace

std::optional<DType> FromWire(v1::DataType type) {
  for (const TypeRow& row : kTypes) {
    if (row.wire == type) return row.dtype;
  }
  return std::nullopt;
}

v1::DataType ToWire(DType type) {
  for (const TypeRow& row : kTypes) {
    if (row.dtype == type) return row.wire;
  }
  return v1::DATA_TYPE_UNSPECIFIED;
}

std::optional<DType> FromOipName(absl::string_view name) {
  for (const TypeRow& row : kTypes) {
    if (row.oip == name) return row.dtype;
  }
  return std::nullopt;
}

absl::string_view OipName(DType type) {
  for (const TypeRow& row : kTypes) {
    if (row.dtype == type) return row.oip;
  }
  return "";
}

absl::StatusOr<int64_t> CheckedSize(absl::string_view path, const Shape& shape, DType dtype) {
  if (shape.size() > kMaxRank)
    return InvalidArgument(path, ".shape: must have at most ", kMaxRank, " axes, got ", shape.size());
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 0) return InvalidArgument(path, ".shape[", i, "]: must be >= 0, got ", shape[i]);
  }
  int64_t count = 0;
  if (!CheckedNumElements(shape, &count))
    return InvalidArgument(path, ".shape: must have fewer elements, got ", ShapeText(shape));
  return count * static_cast<int64_t>(SizeOf(dtype));
}

absl::StatusOr<Tensor> ParseTexts(absl::string_view path, const Shape& shape, absl::string_view data) {
  constexpr size_t kPrefix = sizeof(uint32_t);
  const int64_t count = NumElements(shape);
  // Nothing is allocated for texts that were not sent.
  if (static_cast<uint64_t>(count) > data.size() / kPrefix) {
    return InvalidArgument(path, ": needs at least ", count, " times ", kPrefix, " bytes for BYTES ", ShapeText(shape),
                           ", got ", data.size());
  }
  Tensor texts(DType::kText, shape);
  size_t at = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (data.size() - at < kPrefix) {
      return InvalidArgument(path, ": must have ", kPrefix, " bytes of length before text ", i, ", got ",
                             data.size() - at);
    }
    const auto byte = [&](size_t k) { return static_cast<uint32_t>(static_cast<unsigned char>(data[at + k])); };
    const size_t length = byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24;
    at += kPrefix;
    if (length > data.size() - at) {
      return InvalidArgument(path, ": text ", i, " must end within the data, ", data.size() - at,
                             " bytes further, got a length of ", length);
    }
    texts.data<std::string_view>()[i] = std::string_view(data.data() + at, length);
    at += length;
  }
  if (at != data.size()) {
    return InvalidArgument(path, ": must end after ", count, " texts, BYTES ", ShapeText(shape), ", got ",
                           data.size() - at, " bytes more");
  }
  return texts;
}

absl::StatusOr<BatchViews> ViewsOf(absl::string_view path,
                                   const google::protobuf::Map<std::string, v1::Tensor>& tensors) {
  if (tensors.empty()) return InvalidArgument(path, ": must not be empty, got no tensors");
  if (tensors.size() > kMaxTensors)
    return InvalidArgument(path, ": at most ", kMaxTensors, " tensors, got ", tensors.size());
  BatchViews result;
  for (const auto& [name, tensor] : tensors) {
    const std::string where = absl::StrCat(path, "[", Quote(name), "]");
    const std::optional<DType> dtype = FromWire(tensor.dtype());
    if (!dtype) return InvalidArgument(where, ".dtype: must be a known type, got ", static_cast<int>(tensor.dtype()));
    Shape shape(tensor.shape().begin(), tensor.shape().end());
    if (*dtype == DType::kText) {
      STRATA_RETURN_IF_ERROR(CheckedSize(where, shape, *dtype).status());
      STRATA_ASSIGN_OR_RETURN(result.texts[name], ParseTexts(where + ".data", shape, tensor.data()));
      result.views[name] = result.texts[name].view();
      continue;
    }
    STRATA_ASSIGN_OR_RETURN(const int64_t bytes, CheckedSize(where, shape, *dtype));
    if (static_cast<uint64_t>(bytes) != tensor.data().size()) {
      return InvalidArgument(where, ".data: needs ", bytes, " bytes for ", v1::DataType_Name(tensor.dtype()), " ",
                             ShapeText(shape), ", got ", tensor.data().size());
    }
    result.views[name] = TensorView{*dtype, std::move(shape), tensor.data().data()};
  }
  return result;
}

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  const int64_t nanos = absl::ToUnixNanos(time);
  google::protobuf::Timestamp t;
  t.set_seconds(nanos / 1000000000);
  t.set_nanos(static_cast<int32_t>(nanos % 1000000000));
  return t;
}

std::string CanonicalBytes(const google::protobuf::Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return bytes;
}

}  // namespace strata::service
