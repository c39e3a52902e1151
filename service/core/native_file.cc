#include "service/core/native_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/sha256.h"
#include "engine/base/status.h"
#include "google/protobuf/util/json_util.h"
#include "service/core/names.h"
#include "service/core/training_state.h"
#include "service/core/wire.h"
#include "service/store/files.h"

namespace strata::service {
namespace {

constexpr int kVersion = 2;
constexpr char kVersionKey[] = "strata.version", kDefinitionKey[] = "strata.definition",
               kTrainingKey[] = "strata.training", kLineageKey[] = "strata.lineage", kDigestKey[] = "strata.digest",
               kDefinitionDigestKey[] = "strata.definition_digest", kCursorKey[] = "strata.cursor";

// Over names, types, shapes and elements, in the order of the names.
std::string DigestOf(const NamedTensors& tensors) {
  Sha256 hash;
  for (const auto& [name, tensor] : tensors) {
    const std::string head = absl::StrCat(name, "\n", DTypeName(tensor.dtype()), ShapeString(tensor.shape()), "\n");
    hash.Add(head.data(), head.size());
    hash.Add(tensor.raw(), tensor.size_bytes());
  }
  return hash.Hex();
}

absl::StatusOr<std::string> Value(const Metadata& metadata, const char* key) {
  const auto it = metadata.find(key);
  if (it == metadata.end()) return absl::DataLossError(absl::StrCat("metadata: must have ", key, ", got nothing"));
  return it->second;
}

absl::Status Parse(const char* key, const std::string& text, google::protobuf::Message* message) {
  const auto status = google::protobuf::util::JsonStringToMessage(text, message);
  if (status.ok()) return absl::OkStatus();
  return InvalidArgument(key, ": must be a ", message->GetDescriptor()->full_name(), ", got ",
                         std::string(status.message()));
}

}  // namespace

absl::StatusOr<std::string> CanonicalJson(const google::protobuf::Message& message) {
  std::string text;
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!status.ok()) return absl::InternalError(absl::StrCat("json: ", std::string(status.message())));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) return absl::InternalError("json: the printer's text does not parse");
  return json.dump();
}

std::string TensorFileBytes(const NamedTensors& tensors, const Metadata& metadata) {
  std::vector<std::string> order;
  std::string bytes = TensorFilePrefix(tensors, metadata, &order);
  size_t total = bytes.size();
  for (const auto& [name, tensor] : tensors) total += tensor.size_bytes();
  bytes.reserve(total);
  for (const std::string& name : order) {
    const Tensor& t = tensors.at(name);
    bytes.append(static_cast<const char*>(t.raw()), t.size_bytes());
  }
  return bytes;
}

namespace {

Metadata CommonMetadata(int form, const v1::Model& definition, const v1::TrainingConfig* training,
                        const nlohmann::json& lineage, const NamedTensors& tensors) {
  Metadata metadata = {{"format", "strata"}, {kVersionKey, absl::StrCat(form)}};
  metadata[kDefinitionKey] = CanonicalJson(definition).value_or("{}");
  if (training != nullptr) metadata[kTrainingKey] = CanonicalJson(*training).value_or("{}");
  metadata[kLineageKey] = lineage.dump();
  metadata[kDigestKey] = DigestOf(tensors);
  return metadata;
}

}  // namespace

Metadata CheckpointMetadata(const CheckpointFacts& facts, const NamedTensors& checkpoint) {
  Metadata metadata =
      CommonMetadata(kVersion, *facts.definition, facts.training,
                     {{"model", facts.model}, {"version", 0}, {"run", facts.run}, {"step", facts.step}}, checkpoint);
  metadata[kDefinitionDigestKey] = Sha256Hex(CanonicalBytes(*facts.definition));
  metadata[kCursorKey] = CursorOf(checkpoint);
  metadata["position"] = absl::StrCat(facts.position);
  metadata["threads"] = absl::StrCat(facts.threads);
  metadata["instruction_set"] = facts.instruction_set;
  metadata["build"] = facts.build;
  return metadata;
}

Metadata NativeMetadata(const NativeFile& file, const NamedTensors& weights) {
  return CommonMetadata(1, file.definition, file.training.has_value() ? &*file.training : nullptr,
                        {{"model", file.model}, {"version", file.version}, {"run", file.run}, {"step", file.step}},
                        weights);
}

absl::StatusOr<NativeFile> ReadNative(TensorFile tensors) {
  STRATA_ASSIGN_OR_RETURN(const std::string version, Value(tensors.metadata, kVersionKey));
  int number = 0;
  if (!absl::SimpleAtoi(version, &number) || number < 1) {
    return InvalidArgument(kVersionKey, ": must be a whole number from 1 on, got ", version);
  }
  if (number > kVersion) {
    return absl::UnimplementedError(absl::StrCat(kVersionKey, ": must be at most ", kVersion, ", got ", number));
  }
  NativeFile file;
  STRATA_ASSIGN_OR_RETURN(const std::string definition, Value(tensors.metadata, kDefinitionKey));
  STRATA_RETURN_IF_ERROR(Parse(kDefinitionKey, definition, &file.definition));
  if (const auto it = tensors.metadata.find(kTrainingKey); it != tensors.metadata.end()) {
    STRATA_RETURN_IF_ERROR(Parse(kTrainingKey, it->second, &file.training.emplace()));
  }
  if (const auto it = tensors.metadata.find(kLineageKey); it != tensors.metadata.end()) {
    const auto json = nlohmann::json::parse(it->second, nullptr, false);
    const auto text = [&](const char* key) {
      return json.is_object() && json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
    };
    const auto whole = [&](const char* key) {
      return json.is_object() && json.contains(key) && json[key].is_number_integer() ? json[key].get<int64_t>() : 0;
    };
    file.model = text("model");
    file.run = text("run");
    file.version = whole("version");
    file.step = whole("step");
    // Lineage is shown and kept: it must look like what a server writes.
    if (!file.run.empty()) STRATA_RETURN_IF_ERROR(CheckName("strata.lineage.run", file.run));
    if (file.step < 0 || file.version < 0) {
      return InvalidArgument(kLineageKey, ": must count from 0 on, got ", std::min(file.step, file.version));
    }
  }
  STRATA_ASSIGN_OR_RETURN(const std::string digest, Value(tensors.metadata, kDigestKey));
  if (const std::string got = DigestOf(tensors.tensors); got != digest) {
    return absl::DataLossError(absl::StrCat(kDigestKey, ": must be ", digest, ", got ", got));
  }
  if (number == 1) {
    file.weights = std::move(tensors.tensors);
  } else {
    SplitCheckpoint(std::move(tensors.tensors), &file.weights, &file.state);
  }
  return file;
}

}  // namespace strata::service
