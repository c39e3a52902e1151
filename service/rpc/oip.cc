#include "service/rpc/oip.h"

#include <algorithm>
#include <limits>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/batching/batcher.h"
#include "service/core/names.h"
#include "service/core/wire.h"

namespace strata::service {
namespace {

using Input = inference::ModelInferRequest::InferInputTensor;

template <typename Map>
absl::Status RefuseExtensions(const std::string& where, const Map& parameters) {
  for (const auto& [key, value] : parameters) {
    if (absl::StartsWith(key, "shared_memory") || absl::StartsWith(key, "sequence_") || key == "classification") {
      return absl::UnimplementedError(absl::StrCat(where, ".parameters[", Quote(key), "]: is not supported"));
    }
  }
  return absl::OkStatus();
}

const PortSpec* FindPort(const std::vector<PortSpec>& ports, const std::string& name) {
  const auto it = std::find_if(ports.begin(), ports.end(), [&](const PortSpec& p) { return p.name == name; });
  return it == ports.end() ? nullptr : &*it;
}

absl::Status CheckShape(const std::string& where, const Shape& shape, const PortSpec& port) {
  bool fits = shape.size() == port.shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) fits = port.shape[i] == -1 || port.shape[i] == shape[i];
  if (!fits) {
    return InvalidArgument(where, ".shape: must be ", ShapeText(port.shape), ", got ", ShapeText(shape));
  }
  if (!shape.empty() && shape[0] == 0) return InvalidArgument(where, ".shape: must have a row, got ", ShapeText(shape));
  return absl::OkStatus();
}

template <typename T, typename List>
absl::Status Copy(const std::string& where, const List& list, Tensor* tensor) {
  if (list.size() != tensor->num_elements()) {
    return InvalidArgument(where, ".contents: needs ", tensor->num_elements(), " elements, got ", list.size());
  }
  for (int i = 0; i < list.size(); ++i) {
    using Element = std::decay_t<decltype(list[i])>;
    // Small integers travel in wider ones.
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      if (list[i] < static_cast<Element>(std::numeric_limits<T>::min()) ||
          list[i] > static_cast<Element>(std::numeric_limits<T>::max())) {
        return InvalidArgument(where, ".contents[", i, "]: must fit ", OipName(tensor->dtype()), ", got ", list[i]);
      }
    }
    tensor->data<T>()[i] = static_cast<T>(list[i]);
  }
  return absl::OkStatus();
}

// Borrows the texts.
absl::Status CopyTexts(const std::string& where, const google::protobuf::RepeatedPtrField<std::string>& list,
                       Tensor* tensor) {
  if (list.size() != tensor->num_elements()) {
    return InvalidArgument(where, ".contents: needs ", tensor->num_elements(), " elements, got ", list.size());
  }
  std::copy(list.begin(), list.end(), tensor->data<std::string_view>());
  return absl::OkStatus();
}

absl::Status FromContents(const std::string& where, const inference::InferTensorContents& contents, Tensor* tensor) {
  switch (tensor->dtype()) {
    case DType::kBool:
      return Copy<bool>(where, contents.bool_contents(), tensor);
    case DType::kI8:
      return Copy<int8_t>(where, contents.int_contents(), tensor);
    case DType::kI16:
      return Copy<int16_t>(where, contents.int_contents(), tensor);
    case DType::kI32:
      return Copy<int32_t>(where, contents.int_contents(), tensor);
    case DType::kI64:
      return Copy<int64_t>(where, contents.int64_contents(), tensor);
    case DType::kU8:
      return Copy<uint8_t>(where, contents.uint_contents(), tensor);
    case DType::kU16:
      return Copy<uint16_t>(where, contents.uint_contents(), tensor);
    case DType::kU32:
      return Copy<uint32_t>(where, contents.uint_contents(), tensor);
    case DType::kU64:
      return Copy<uint64_t>(where, contents.uint64_contents(), tensor);
    case DType::kF32:
      return Copy<float>(where, contents.fp32_contents(), tensor);
    case DType::kF64:
      return Copy<double>(where, contents.fp64_contents(), tensor);
    case DType::kText:
      return CopyTexts(where, contents.bytes_contents(), tensor);
    case DType::kF16:
    case DType::kBF16:
      return InvalidArgument(where, ".contents: must be absent, for ", OipName(tensor->dtype()),
                             " travels in raw_input_contents only, got some");
  }
  return absl::InternalError("unknown element type");
}

absl::Status ParseInput(const std::string& where, const Input& input, const std::string* raw, const PortSpec& port,
                        InferInputs* result) {
  if (input.datatype() != OipName(port.dtype)) {
    return InvalidArgument(where, ".datatype: must be ", OipName(port.dtype), ", got ", Quote(input.datatype()));
  }
  STRATA_RETURN_IF_ERROR(RefuseExtensions(where, input.parameters()));
  Shape shape(input.shape().begin(), input.shape().end());
  STRATA_ASSIGN_OR_RETURN(const int64_t bytes, CheckedSize(where, shape, port.dtype));
  STRATA_RETURN_IF_ERROR(CheckShape(where, shape, port));
  result->bytes += static_cast<size_t>(bytes);
  if (raw != nullptr) {
    if (input.has_contents()) {
      return InvalidArgument(where, ".contents: must be empty when raw_input_contents are given, got some");
    }
    if (port.dtype == DType::kText) {
      result->bytes += raw->size();
      STRATA_ASSIGN_OR_RETURN(Tensor texts, ParseTexts(where + ".raw_input_contents", shape, *raw));
      const Tensor& kept = result->converted[port.name] = std::move(texts);
      result->views[port.name] = kept.view();
      return absl::OkStatus();
    }
    if (raw->size() != static_cast<size_t>(bytes)) {
      return InvalidArgument(where, ": raw_input_contents needs ", bytes, " bytes for ", input.datatype(), " ",
                             ShapeText(shape), ", got ", raw->size());
    }
    result->views[port.name] = TensorView{port.dtype, std::move(shape), raw->data()};
    return absl::OkStatus();
  }
  // Nothing is allocated for a shape whose elements were not sent.
  const size_t sent = input.contents().ByteSizeLong();
  if (port.dtype == DType::kText) result->bytes += sent;
  if (sent == 0 && bytes > 0) return InvalidArgument(where, ".contents: must be given, got nothing");
  if (static_cast<uint64_t>(bytes) > sent * 8) {
    return InvalidArgument(where, ".contents: needs ", bytes / static_cast<int64_t>(SizeOf(port.dtype)),
                           " elements, got fewer");
  }
  Tensor tensor(port.dtype, std::move(shape));
  STRATA_RETURN_IF_ERROR(FromContents(where, input.contents(), &tensor));
  const Tensor& kept = result->converted[port.name] = std::move(tensor);
  result->views[port.name] = kept.view();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<InferInputs> ParseInfer(const inference::ModelInferRequest& request, const Version& version) {
  InferInputs result;
  STRATA_RETURN_IF_ERROR(RefuseExtensions("request", request.parameters()));
  if (const auto it = request.parameters().find("timeout"); it != request.parameters().end()) {
    const int64_t micros = std::max<int64_t>(it->second.int64_param(), static_cast<int64_t>(it->second.uint64_param()));
    if (micros < 0) return InvalidArgument("parameters[\"timeout\"]: must be >= 0, got ", micros);
    if (micros > 0) result.timeout = absl::Microseconds(micros);
  }
  const int raws = request.raw_input_contents_size();
  if (raws != 0 && raws != request.inputs_size()) {
    return InvalidArgument("raw_input_contents: must have one entry for each of ", request.inputs_size(),
                           " inputs, got ", raws);
  }
  for (int i = 0; i < request.inputs_size(); ++i) {
    const Input& input = request.inputs(i);
    const std::string where = absl::StrCat("inputs[", Quote(input.name()), "]");
    const PortSpec* port = FindPort(version.inputs(), input.name());
    if (port == nullptr) return InvalidArgument(where, ": must be an input of the model, got ", Quote(input.name()));
    if (result.views.count(input.name()) != 0) return InvalidArgument(where, ": must be given once, got it again");
    STRATA_RETURN_IF_ERROR(
        ParseInput(where, input, raws == 0 ? nullptr : &request.raw_input_contents(i), *port, &result));
  }
  for (const PortSpec& port : version.inputs()) {
    if (result.views.count(port.name) == 0)
      return InvalidArgument("inputs[", Quote(port.name), "]: must be given, got nothing");
  }
  std::set<std::string> seen;
  for (const auto& output : request.outputs()) {
    const std::string where = absl::StrCat("outputs[", Quote(output.name()), "]");
    if (FindPort(version.outputs(), output.name()) == nullptr) {
      return InvalidArgument(where, ": must be an output of the model, got ", Quote(output.name()));
    }
    if (!seen.insert(output.name()).second) return InvalidArgument(where, ": must be given once, got it again");
    STRATA_RETURN_IF_ERROR(RefuseExtensions(where, output.parameters()));
  }
  if (!Batcher::Batchable(version)) return result;
  result.rows = result.views.begin()->second.shape[0];
  for (const auto& [name, view] : result.views) {
    if (view.shape[0] != result.rows) {
      return InvalidArgument("inputs[", Quote(name), "].shape: must have ", result.rows, " rows as ",
                             Quote(result.views.begin()->first), " has, got ", view.shape[0]);
    }
  }
  return result;
}

absl::Status FillInferResponse(const inference::ModelInferRequest& request, const LoadedVersion& version,
                               const NamedTensors& outputs, inference::ModelInferResponse* response) {
  response->set_model_name(version.model);
  response->set_model_version(absl::StrCat(version.number));
  response->set_id(request.id());
  std::vector<std::string> names;
  for (const auto& output : request.outputs()) names.push_back(output.name());
  if (names.empty()) {
    for (const PortSpec& port : version.version->outputs()) names.push_back(port.name);
  }
  for (const std::string& name : names) {
    const auto it = outputs.find(name);
    if (it == outputs.end()) return absl::InternalError(absl::StrCat("output ", name, " was not computed"));
    auto* out = response->add_outputs();
    out->set_name(name);
    out->set_datatype(std::string(OipName(it->second.dtype())));
    out->mutable_shape()->Assign(it->second.shape().begin(), it->second.shape().end());
    response->add_raw_output_contents(it->second.raw(), it->second.size_bytes());
  }
  return absl::OkStatus();
}

void FillMetadata(const LoadedVersion& version, const std::vector<int64_t>& versions,
                  inference::ModelMetadataResponse* response) {
  response->set_name(version.model);
  for (const int64_t number : versions) response->add_versions(absl::StrCat(number));
  response->set_platform("strata");
  const auto put = [](const PortSpec& port, inference::ModelMetadataResponse::TensorMetadata* out) {
    out->set_name(port.name);
    out->set_datatype(std::string(OipName(port.dtype)));
    out->mutable_shape()->Assign(port.shape.begin(), port.shape.end());
  };
  for (const PortSpec& port : version.version->inputs()) put(port, response->add_inputs());
  for (const PortSpec& port : version.version->outputs()) put(port, response->add_outputs());
}

void FillConfig(const LoadedVersion& version, int64_t max_rows, inference::ModelConfig* config) {
  const bool batchable = Batcher::Batchable(*version.version);
  config->set_name(version.model);
  config->set_platform("strata");
  config->set_backend("strata");
  config->set_max_batch_size(batchable ? static_cast<int32_t>(max_rows) : 0);
  const auto put = [&](const PortSpec& port, auto* out) {
    out->set_name(port.name);
    inference::DataType type = inference::TYPE_INVALID;
    inference::DataType_Parse(absl::StrCat("TYPE_", OipName(port.dtype)), &type);
    out->set_data_type(type);
    // With a batch size, the batch axis is left out.
    out->mutable_dims()->Assign(port.shape.begin() + (batchable ? 1 : 0), port.shape.end());
  };
  for (const PortSpec& port : version.version->inputs()) put(port, config->add_input());
  for (const PortSpec& port : version.version->outputs()) put(port, config->add_output());
}

}  // namespace strata::service
