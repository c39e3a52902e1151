// Tensors and shapes between the wire and the engine.
#pragma once

#include <optional>
#include <string>
#include "absl/strings/string_view.h"

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/base/tensor.h"
#include "google/protobuf/map.h"
#include "google/protobuf/message.h"
#include "google/protobuf/timestamp.pb.h"
#include "strata/v1/tensor.pb.h"

namespace strata::service {

std::optional<DType> FromWire(v1::DataType type);
v1::DataType ToWire(DType type);

// The Open Inference Protocol's names: FP32, INT64, BOOL, ...
std::optional<DType> FromOipName(absl::string_view name);
absl::string_view OipName(DType type);

// Elements of a shape from outside; INVALID_ARGUMENT on a negative size, too many axes or an absurd product.
absl::StatusOr<int64_t> CheckedSize(absl::string_view path, const Shape& shape, DType dtype);

// BYTES of a shape that CheckedSize takes: each text is its length (4 bytes, little-endian) and its content. The
// tensor's texts borrow from `data`. INVALID_ARGUMENT for lengths that do not end where `data` ends.
absl::StatusOr<Tensor> ParseTexts(absl::string_view path, const Shape& shape, absl::string_view data);

// The tensors of a batch without a copy: valid while the message lives.
struct BatchViews {
  NamedViews views;
  NamedTensors texts;  // what views of texts look at
};
// `path` names the field in errors.
absl::StatusOr<BatchViews> ViewsOf(absl::string_view path,
                                   const google::protobuf::Map<std::string, v1::Tensor>& tensors);

google::protobuf::Timestamp ToTimestamp(absl::Time time);

// Equal messages give equal bytes: map fields are sorted.
std::string CanonicalBytes(const google::protobuf::Message& message);

}  // namespace strata::service
