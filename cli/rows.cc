#include "cli/rows.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/base/text_bytes.h"

namespace strata::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxRank = 16;

// Calls f with a value of the C++ type that a datatype of the protocol has. False for others.
template <typename F>
bool WithType(const std::string& datatype, F f) {
  if (datatype == "FP32") return f(float{}), true;
  if (datatype == "FP64") return f(double{}), true;
  if (datatype == "BOOL") return f(bool{}), true;
  if (datatype == "INT8") return f(int8_t{}), true;
  if (datatype == "INT16") return f(int16_t{}), true;
  if (datatype == "INT32") return f(int32_t{}), true;
  if (datatype == "INT64") return f(int64_t{}), true;
  if (datatype == "UINT8") return f(uint8_t{}), true;
  if (datatype == "UINT16") return f(uint16_t{}), true;
  if (datatype == "UINT32") return f(uint32_t{}), true;
  if (datatype == "UINT64") return f(uint64_t{}), true;
  return false;
}

template <typename T>
bool Fits(const Json& value) {
  if constexpr (std::is_same_v<T, bool>) return value.is_boolean();
  if constexpr (std::is_floating_point_v<T>) return value.is_number();
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned()) {
    return value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<T>::max());
  }
  const int64_t v = value.get<int64_t>();  // negative
  return std::is_signed_v<T> && v >= static_cast<int64_t>(std::numeric_limits<T>::min());
}

// The values of one input while its lists are walked.
class Encoder {
 public:
  Encoder(std::string path, std::string datatype, std::string* raw)
      : path_(std::move(path)), datatype_(std::move(datatype)), raw_(raw) {}

  absl::Status Walk(const Json& value, size_t axis) {
    if (!value.is_array()) return Leaf(value, axis);
    if (axis == kMaxRank) return InvalidArgument(path_, ": must have at most ", kMaxRank, " axes, got more");
    const auto size = static_cast<int64_t>(value.size());
    if (axis == shape_.size()) {
      if (complete_) return InvalidArgument(path_, ": lists must have one depth, got a list among values");
      shape_.push_back(size);
    }
    if (shape_[axis] != size) {
      return InvalidArgument(path_, ": lists of axis ", axis, " must have one length, got ", shape_[axis], " and ",
                             size);
    }
    for (const Json& item : value) STRATA_RETURN_IF_ERROR(Walk(item, axis + 1));
    return absl::OkStatus();
  }
  const std::vector<int64_t>& shape() const { return shape_; }

 private:
  absl::Status Leaf(const Json& value, size_t axis) {
    complete_ = true;
    if (axis != shape_.size()) return InvalidArgument(path_, ": lists must have one depth, got a value among lists");
    bool fits = false;
    if (datatype_ == "BYTES") {
      fits = value.is_string();
      if (fits) AppendText(value.get_ref<const std::string&>(), raw_);
    } else if (!WithType(datatype_, [&](auto type) {
                 using T = decltype(type);
                 fits = Fits<T>(value);
                 if (!fits) return;
                 const T v = value.get<T>();
                 raw_->append(reinterpret_cast<const char*>(&v), sizeof(v));
               })) {
      return absl::UnimplementedError(absl::StrCat(path_, ": ", datatype_, " has no form in JSON"));
    }
    return fits ? absl::OkStatus() : InvalidArgument(path_, ": must be ", datatype_, ", got ", value.dump());
  }

  const std::string path_, datatype_;
  std::string* const raw_;
  std::vector<int64_t> shape_;
  bool complete_ = false;  // the first value was met: the depth is known
};

// JSON has doubles only: the one with the digits that tell this float from its neighbours.
Json Number(float v) {
  if (!std::isfinite(v)) return nullptr;
  char digits[64];
  const auto end = std::to_chars(digits, digits + sizeof(digits), v).ptr;
  double value = 0;
  std::from_chars(digits, end, value);
  return value;
}
template <typename T>
Json Number(T v) {
  return v;
}

template <typename T>
Json Nested(const std::string& raw, const google::protobuf::RepeatedField<int64_t>& shape, int axis, size_t* at) {
  if (axis == shape.size()) {
    T v;
    std::memcpy(&v, raw.data() + *at, sizeof(T));
    *at += sizeof(T);
    return Number(v);
  }
  Json list = Json::array();
  for (int64_t i = 0; i < shape[axis]; ++i) list.push_back(Nested<T>(raw, shape, axis + 1, at));
  return list;
}

}  // namespace

absl::Status AddRows(const std::string& json, const inference::ModelMetadataResponse& metadata,
                     inference::ModelInferRequest* request) {
  const Json given = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  const bool bare = given.is_array() && metadata.inputs_size() == 1;
  if (!given.is_object() && !bare) return InvalidArgument("rows: must be JSON {\"input\": [...], ...}, got other text");
  if (!bare) {
    for (const auto& [name, value] : given.items()) {
      bool known = false;
      for (const auto& spec : metadata.inputs()) known |= spec.name() == name;
      if (!known) return InvalidArgument("rows[\"", name, "\"]: must be an input of the model, got \"", name, "\"");
    }
  }
  for (const auto& spec : metadata.inputs()) {
    const std::string path = absl::StrCat("rows[\"", spec.name(), "\"]");
    if (!bare && !given.contains(spec.name())) return InvalidArgument(path, ": must be given, got nothing");
    auto* input = request->add_inputs();
    input->set_name(spec.name());
    input->set_datatype(spec.datatype());
    Encoder encoder(path, spec.datatype(), request->add_raw_input_contents());
    STRATA_RETURN_IF_ERROR(encoder.Walk(bare ? given : given[spec.name()], 0));
    input->mutable_shape()->Add(encoder.shape().begin(), encoder.shape().end());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> RowsOf(const inference::ModelInferResponse& response) {
  Json all = Json::object();
  for (int i = 0; i < response.outputs_size(); ++i) {
    const auto& output = response.outputs(i);
    if (i >= response.raw_output_contents_size()) return absl::InternalError("the server's answer has no raw output");
    const std::string& raw = response.raw_output_contents(i);
    uint64_t count = 1;
    for (const int64_t d : output.shape()) count *= static_cast<uint64_t>(d);
    bool whole = false;
    const bool known = WithType(output.datatype(), [&](auto type) {
      using T = decltype(type);
      whole = raw.size() == count * sizeof(T);
      size_t at = 0;
      if (whole) all[output.name()] = Nested<T>(raw, output.shape(), 0, &at);
    });
    if (!known)
      return absl::UnimplementedError(absl::StrCat(output.name(), ": ", output.datatype(), " has no form in JSON"));
    if (!whole) return absl::InternalError(absl::StrCat(output.name(), ": the server's answer is incomplete"));
  }
  return all.dump();
}

}  // namespace strata::cli
