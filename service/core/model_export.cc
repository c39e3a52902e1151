// Models.Export: what is sent, and in whose words.

#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/checkpoint_names.h"
#include "engine/base/sha256.h"
#include "engine/base/status.h"
#include "service/core/keras_file.h"
#include "service/core/keras_optimizer.h"
#include "service/core/model_files.h"
#include "service/core/names.h"
#include "service/files/containers.h"

namespace strata::service {
namespace {

constexpr char kKerasVersion[] = "2.21.0";

// Archives name classes by module, and Functional's module differs between releases; Model, which is public, reads the
// same configuration.
void UsePublicClasses(nlohmann::json* json) {
  if (json->is_object() && json->value("class_name", nlohmann::json()) == "Functional") (*json)["class_name"] = "Model";
  if (!json->is_structured()) return;
  for (auto& value : *json) UsePublicClasses(&value);
}

bool IsPytorch(v1::FileFormat format) {
  return format == v1::PYTORCH_STATE_DICT || format == v1::PYTORCH_SOURCE || format == v1::PYTORCH_DEFINITION;
}
bool IsKerasWhole(v1::FileFormat format) { return format == v1::KERAS_HDF5 || format == v1::KERAS_ARCHIVE; }
bool IsKeras(v1::FileFormat format) {
  return IsKerasWhole(format) || format == v1::KERAS_WEIGHTS || format == v1::KERAS_DEFINITION;
}
bool IsDefinition(v1::FileFormat format) {
  return format == v1::DEFINITION || format == v1::KERAS_DEFINITION || format == v1::PYTORCH_DEFINITION ||
         format == v1::PYTORCH_SOURCE;
}

bool Equal(const NamedTensors& a, const NamedTensors& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, tensor] : a) {
    const auto it = b.find(name);
    if (it == b.end() || it->second.shape() != tensor.shape() || it->second.dtype() != tensor.dtype() ||
        std::memcmp(it->second.raw(), tensor.raw(), tensor.size_bytes()) != 0) {
      return false;
    }
  }
  return true;
}

// The bytes in the order in which they are sent; the tensors live as long as `owner`.
void Put(const NamedViews& tensors, const Metadata& metadata, std::shared_ptr<const void> owner, ExportedFile* out) {
  std::vector<std::string> order;
  out->head = TensorFilePrefix(tensors, metadata, &order);
  for (const std::string& name : order) out->tensors.push_back(tensors.at(name));
  out->owner = std::move(owner);
}

void Put(NamedTensors tensors, const Metadata& metadata, ExportedFile* out) {
  auto owner = std::make_shared<const NamedTensors>(std::move(tensors));
  const NamedViews views = ViewsOf(*owner);
  Put(views, metadata, std::move(owner), out);
}

void SetSize(ExportedFile* out) {
  auto size = static_cast<int64_t>(out->head.size());
  for (const TensorView& t : out->tensors) size += static_cast<int64_t>(t.size_bytes());
  out->header.set_size(size);
}

std::string DigestOf(const ExportedFile& file) {
  Sha256 hash;
  hash.Add(file.head.data(), file.head.size());
  for (const TensorView& t : file.tensors) hash.Add(t.data, t.size_bytes());
  return hash.Hex();
}

}  // namespace

absl::StatusOr<ModelFiles::Content> ModelFiles::ContentOf(const v1::ExportRequest& request) const {
  Content content;
  if (request.run().empty()) {
    STRATA_ASSIGN_OR_RETURN(const auto entry, options_.registry->Find(request.model()));
    content.definition = entry->definition;
    if (IsDefinition(request.format())) return content;
    STRATA_ASSIGN_OR_RETURN(content.version, options_.registry->DescribeVersion(request.model(), request.version()));
    STRATA_RETURN_IF_ERROR(ReadVersion(request, &content));
    return content;
  }
  if (request.version() != 0) return InvalidArgument("version: must be 0 for a run, got ", request.version());
  STRATA_ASSIGN_OR_RETURN(RunCheckpoint saved, options_.runs->ReadCheckpoint(request.run()));
  if (!request.model().empty() && request.model() != saved.model) {
    return InvalidArgument("run: must train model ", Quote(request.model()), ", got ", Quote(request.run()),
                           " of model ", Quote(saved.model));
  }
  STRATA_ASSIGN_OR_RETURN(const auto entry, options_.registry->Find(saved.model));
  content.definition = entry->definition;
  content.run = request.run();
  content.step = saved.step;
  content.metadata = std::move(saved.file.metadata);
  content.training.emplace().config = std::move(saved.config);
  SplitCheckpoint(std::move(saved.file.tensors), &content.weights, &content.training->tensors);
  return content;
}

absl::Status ModelFiles::ReadVersion(const v1::ExportRequest& request, Content* content) const {
  const int64_t number = content->version.version();
  content->run = content->version.run();
  content->step = static_cast<int64_t>(content->version.step());
  if (request.format() == v1::PYTORCH_STATE_DICT) {
    STRATA_ASSIGN_OR_RETURN(const LoadedVersion found,
                            options_.registry->Resolve(request.model(), absl::StrCat(number)));
    content->loaded = found.version;
    if (content->loaded != nullptr) return absl::OkStatus();
  }
  STRATA_ASSIGN_OR_RETURN(TensorFile file, options_.registry->ReadWeights(request.model(), number));
  content->weights = std::move(file.tensors);
  STRATA_ASSIGN_OR_RETURN(content->training, options_.registry->ReadTraining(request.model(), number));
  return absl::OkStatus();
}

// A version that a run has published goes with the run's configuration, and with its optimizer's state where that is
// still the one of these weights.
void ModelFiles::AddTrainingOfRun(Content* content) const {
  if (content->training.has_value() || content->run.empty()) return;
  const auto run = options_.runs->Find(content->run);
  if (!run.ok() || (*run)->model_name() != content->version.model()) return;
  TrainingState training{(*run)->Info().config(), {}};
  if ((*run)->Saved().durable_through == content->step) {
    auto saved = options_.runs->ReadCheckpoint(content->run);
    NamedTensors weights, rest;
    if (saved.ok()) SplitCheckpoint(std::move(saved->file.tensors), &weights, &rest);
    if (Equal(weights, content->weights)) training.tensors = std::move(rest);
  }
  content->training = std::move(training);
}

namespace {

// A state dict is the module's: a loss has its own, which a strict load_state_dict of the module refuses.
template <typename Map>
void EraseLossWeights(Map* weights) {
  for (auto it = weights->begin(); it != weights->end();) {
    it = checkpoint::IsOfLoss(it->first) ? weights->erase(it) : std::next(it);
  }
}

}  // namespace

absl::StatusOr<std::string> ModelFiles::KerasBytes(v1::FileFormat format, Content content) const {
  const v1::Model& model = content.definition;
  STRATA_ASSIGN_OR_RETURN(const ModelFacts facts, options_.engine->Inspect(model, nullptr, 1));
  TensorFile file;
  if (format == v1::KERAS_WEIGHTS) {
    AddPathLayout(model, facts.parameters, std::move(content.weights), &file);
    return tool_.Pack(std::move(file));
  }
  STRATA_ASSIGN_OR_RETURN(const std::string architecture, options_.engine->Export(model, v1::KERAS_DEFINITION));
  AddTrainingOfRun(&content);
  nlohmann::json training;
  if (content.training.has_value()) {
    const auto text = options_.engine->ExportTraining(model, content.training->config, format);
    if (text.ok()) training = nlohmann::json::parse(*text, nullptr, false);
  }
  const bool archive = format == v1::KERAS_ARCHIVE;
  if (training.is_object() && !content.training->tensors.empty()) {
    AddKerasOptimizer(model, facts.parameters, content.training->config, content.weights, content.training->tensors,
                      archive, &file);
  }
  content.training.reset();
  if (archive) {
    AddPathLayout(model, facts.parameters, std::move(content.weights), &file);
    nlohmann::json config = nlohmann::json::parse(architecture, nullptr, false);
    config["module"] = "keras";
    UsePublicClasses(&config);
    config["registered_name"] = nullptr;
    config.erase("keras_version");
    config.erase("backend");
    if (training.is_object()) {
      config["compile_config"] = training;
      config["compile_config"]["optimizer"] = training["optimizer_config"];
      config["compile_config"].erase("optimizer_config");
    }
    file.metadata[absl::StrCat(kMember, "config.json")] = config.dump();
    file.metadata[absl::StrCat(kMember, "metadata.json")] =
        nlohmann::json({{"keras_version", kKerasVersion}, {"date_saved", "1980-01-01@00:00:00"}}).dump();
    file.metadata["container"] = "keras";
    return tool_.Pack(std::move(file));
  }
  AddLayerLayout(model, facts.parameters, std::move(content.weights), "model_weights", &file);
  const auto attribute = [&](const char* name, const std::string& text) {
    file.metadata[absl::StrCat(kAttribute, "@", name)] = nlohmann::json(text).dump();
  };
  attribute("model_config", architecture);
  attribute("keras_version", kKerasVersion);
  attribute("backend", "tensorflow");
  if (training.is_object()) attribute("training_config", training.dump());
  file.metadata["container"] = "hdf5";
  return tool_.Pack(std::move(file));
}

absl::Status ModelFiles::PutNative(Content content, ExportedFile* out) const {
  if (!content.training.has_value() || content.training->tensors.empty()) {
    NativeFile native{.definition = content.definition,
                      .model = content.definition.name(),
                      .run = content.run,
                      .version = content.version.version(),
                      .step = content.step};
    if (content.training.has_value()) {
      native.training = content.training->config;
    } else if (const auto run = options_.runs->Find(content.run);
               run.ok() && (*run)->model_name() == content.version.model()) {
      native.training = (*run)->Info().config();
    }
    const Metadata metadata = NativeMetadata(native, content.weights);
    Put(std::move(content.weights), metadata, out);
    return absl::OkStatus();
  }
  NamedTensors checkpoint = JoinCheckpoint(std::move(content.weights), std::move(content.training->tensors));
  // What other servers wrote before there was this form is brought into it.
  const auto number = [&](const char* key) {
    int64_t value = 0;
    const auto it = content.metadata.find(key);
    return it != content.metadata.end() && absl::SimpleAtoi(it->second, &value) ? value : 0;
  };
  const Metadata metadata = CheckpointMetadata({.definition = &content.definition,
                                                .training = &content.training->config,
                                                .model = content.definition.name(),
                                                .run = content.run,
                                                .build = content.metadata["build"],
                                                .instruction_set = content.metadata["instruction_set"],
                                                .step = content.step,
                                                .position = number("position"),
                                                .threads = static_cast<int>(number("threads"))},
                                               checkpoint);
  Put(std::move(checkpoint), metadata, out);
  return absl::OkStatus();
}

absl::StatusOr<ExportedFile> ModelFiles::Export(const v1::ExportRequest& given) const {
  v1::ExportRequest request = given;
  if (request.format() == v1::FILE_FORMAT_UNSPECIFIED) request.set_format(v1::NATIVE);
  const v1::FileFormat format = request.format();
  if (!v1::FileFormat_IsValid(format)) {
    return InvalidArgument("format: must be a known format, got ", static_cast<int>(format));
  }
  STRATA_RETURN_IF_ERROR(CheckText("name", request.name(), 256));
  STRATA_ASSIGN_OR_RETURN(Content content, ContentOf(request));
  const v1::Model& model = content.definition;
  if ((IsPytorch(format) && model.dialect() != v1::PYTORCH) || (IsKeras(format) && model.dialect() != v1::KERAS)) {
    return InvalidArgument("format: must be one of ", v1::Dialect_Name(model.dialect()), "'s, got ",
                           v1::FileFormat_Name(format));
  }
  if (!request.name().empty()) content.definition.set_name(request.name());
  ExportedFile out;
  out.header.set_format(format);
  if (!IsDefinition(format)) out.header.set_version(content.version.version());
  if (!request.run().empty()) {
    out.header.set_run(request.run());
    out.header.set_step(static_cast<uint64_t>(content.step));
  }
  if (format == v1::DEFINITION) {
    STRATA_ASSIGN_OR_RETURN(out.head, CanonicalJson(model));
  } else if (IsDefinition(format)) {
    STRATA_ASSIGN_OR_RETURN(out.head, options_.engine->Export(model, format));
  } else if (format == v1::NATIVE) {
    STRATA_RETURN_IF_ERROR(PutNative(std::move(content), &out));
  } else if (format == v1::PYTORCH_STATE_DICT && content.loaded != nullptr) {
    NamedViews views = content.loaded->weights();
    EraseLossWeights(&views);
    Put(views, {{"format", "pt"}}, std::move(content.loaded), &out);
  } else if (format == v1::PYTORCH_STATE_DICT) {
    EraseLossWeights(&content.weights);
    Put(std::move(content.weights), {{"format", "pt"}}, &out);
  } else {
    STRATA_ASSIGN_OR_RETURN(out.head, KerasBytes(format, std::move(content)));
  }
  SetSize(&out);
  if (!request.digest_follows()) out.header.set_digest(DigestOf(out));
  return out;
}

}  // namespace strata::service
