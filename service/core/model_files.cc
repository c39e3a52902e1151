#include "service/core/model_files.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "google/protobuf/util/json_util.h"
#include "service/core/file_kinds.h"
#include "service/core/keras_file.h"
#include "service/core/names.h"
#include "service/core/native_file.h"
#include "service/core/state_dict.h"
#include "service/files/containers.h"
#include "service/store/files.h"

namespace strata::service {
namespace {

constexpr char kDefaultName[] = "imported";

// Names of models in files may be anything; ours may not.
std::string UsableName(const std::string& name) {
  std::string out;
  for (const char c : name.substr(0, 63)) {
    const bool good = absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '-';
    out += good ? c : '_';
  }
  while (!out.empty() && !absl::ascii_isalnum(static_cast<unsigned char>(out[0]))) out.erase(0, 1);
  return out.empty() ? kDefaultName : out;
}

// Archives name classes by module, and Functional's module differs between releases; Model, which is public, reads the
// same configuration.
void UsePublicClasses(nlohmann::json* json) {
  if (json->is_object() && json->value("class_name", nlohmann::json()) == "Functional") (*json)["class_name"] = "Model";
  if (!json->is_structured()) return;
  for (auto& value : *json) UsePublicClasses(&value);
}

}  // namespace

absl::Status ModelFiles::CheckSize(int64_t bytes) const {
  if (bytes <= options_.max_bytes) return absl::OkStatus();
  return InvalidArgument("size: must be at most ", options_.max_bytes, " bytes, got ", bytes);
}

absl::StatusOr<v1::FileFormat> ModelFiles::FormatOf(const v1::ImportStart& start, const std::string& bytes) const {
  STRATA_ASSIGN_OR_RETURN(const v1::FileFormat found, RecognizeFile(bytes));
  const v1::FileFormat asked = start.format();
  if (asked == v1::FILE_FORMAT_UNSPECIFIED || asked == found) return found;
  const bool both_hdf5 = asked == v1::KERAS_WEIGHTS && found == v1::KERAS_HDF5;
  // A native file is a state dict too, and both frameworks' definitions are JSON.
  const bool both_tensors = asked == v1::PYTORCH_STATE_DICT && found == v1::NATIVE;
  const auto is_json = [](v1::FileFormat f) {
    return f == v1::KERAS_DEFINITION || f == v1::PYTORCH_DEFINITION || f == v1::DEFINITION;
  };
  if (both_hdf5 || both_tensors || (is_json(asked) && is_json(found))) return asked;
  return InvalidArgument("format: must be ", v1::FileFormat_Name(found), " as the file is, got ",
                         v1::FileFormat_IsValid(asked) ? v1::FileFormat_Name(asked) : absl::StrCat(asked));
}

absl::StatusOr<v1::Model> ModelFiles::DefinitionFor(const v1::ImportStart& start, bool* existing) const {
  if (start.has_definition()) {
    const auto& given = start.definition();
    if (given.dialect() != v1::PYTORCH && given.dialect() != v1::KERAS) {
      return InvalidArgument("definition.dialect: must be PYTORCH or KERAS");
    }
    const std::vector<v1::Input> inputs(given.inputs().begin(), given.inputs().end());
    STRATA_ASSIGN_OR_RETURN(const v1::Model model,
                            options_.engine->Import(given.dialect(), given.json(), inputs,
                                                    options_.registry->Components(given.custom_components())));
    return options_.registry->CompleteModel(model);
  }
  if (start.name().empty()) {
    return absl::InvalidArgumentError("definition: must be given for a file of weights alone, or the name of a model");
  }
  const auto entry = options_.registry->Find(start.name());
  if (!entry.ok()) {
    return InvalidArgument(
        "definition: must be given for a file of weights alone, or the name of a model that exists, got ",
        Quote(start.name()));
  }
  *existing = true;
  return (*entry)->definition;
}

absl::Status ModelFiles::ParseDefinition(v1::FileFormat format, const v1::ImportStart& start, const std::string& bytes,
                                         Parsed* parsed) const {
  v1::Model model;
  if (format == v1::DEFINITION) {
    const auto status = google::protobuf::util::JsonStringToMessage(bytes, &model);
    if (!status.ok()) return InvalidArgument("file: must be a strata.v1.Model, got ", std::string(status.message()));
  } else {
    const v1::Dialect dialect = format == v1::KERAS_DEFINITION ? v1::KERAS : v1::PYTORCH;
    const std::vector<v1::Input> inputs(start.definition().inputs().begin(), start.definition().inputs().end());
    const CustomComponents custom = options_.registry->Components(start.definition().custom_components());
    STRATA_ASSIGN_OR_RETURN(model, options_.engine->Import(dialect, bytes, inputs, custom));
  }
  STRATA_ASSIGN_OR_RETURN(parsed->definition, options_.registry->CompleteModel(model));
  return absl::OkStatus();
}

absl::Status ModelFiles::ParseNative(const std::string& bytes, Parsed* parsed) const {
  STRATA_ASSIGN_OR_RETURN(NativeFile file, ReadNative(bytes));
  STRATA_ASSIGN_OR_RETURN(parsed->definition, options_.registry->CompleteModel(file.definition));
  if (file.training.has_value()) *parsed->response.mutable_training() = *file.training;
  STRATA_ASSIGN_OR_RETURN(const ModelFacts facts, options_.engine->Inspect(parsed->definition, nullptr, 1));
  STRATA_ASSIGN_OR_RETURN(Matched matched, MatchStateDict(parsed->definition.name(), facts.parameters,
                                                          std::move(file.weights), /*strict=*/true, {}));
  parsed->weights = std::move(matched.weights);
  parsed->has_weights = true;
  parsed->run = file.run;
  parsed->step = file.step;
  return absl::OkStatus();
}

absl::Status ModelFiles::ParseStateDict(const v1::ImportStart& start, const std::string& bytes, Parsed* parsed) const {
  STRATA_ASSIGN_OR_RETURN(parsed->definition, DefinitionFor(start, &parsed->existing));
  STRATA_ASSIGN_OR_RETURN(TensorFile file, ParseTensors(bytes));
  STRATA_ASSIGN_OR_RETURN(const ModelFacts facts, options_.engine->Inspect(parsed->definition, nullptr, 1));
  const bool strict = !start.has_strict() || start.strict();
  NamedTensors own;
  if (!strict) {
    // What the file lacks keeps its value: the serving version's, or a fresh one.
    auto serving = options_.registry->ReadWeights(start.name(), 0);
    if (parsed->existing && serving.ok()) {
      own = std::move(serving->tensors);
    } else {
      STRATA_ASSIGN_OR_RETURN(own, options_.engine->InitialWeights(parsed->definition));
    }
  }
  const std::string name = start.name().empty() ? parsed->definition.name() : start.name();
  STRATA_ASSIGN_OR_RETURN(Matched matched, MatchStateDict(name.empty() ? "Model" : name, facts.parameters,
                                                          std::move(file.tensors), strict, own));
  for (const std::string& key : matched.missing) parsed->response.add_missing_keys(key);
  for (const std::string& key : matched.unexpected) parsed->response.add_unexpected_keys(key);
  parsed->weights = std::move(matched.weights);
  parsed->has_weights = true;
  return absl::OkStatus();
}

absl::Status ModelFiles::ParseKeras(const v1::ImportStart& start, const std::string& bytes, Parsed* parsed) const {
  STRATA_ASSIGN_OR_RETURN(const TensorFile file, tool_.Unpack(bytes));
  const KerasTexts texts = TextsOf(file);
  const bool weights_only = texts.architecture.empty() || start.format() == v1::KERAS_WEIGHTS;
  if (weights_only) {
    STRATA_ASSIGN_OR_RETURN(parsed->definition, DefinitionFor(start, &parsed->existing));
    parsed->response.set_format(v1::KERAS_WEIGHTS);
  } else {
    const CustomComponents custom = options_.registry->Components(start.definition().custom_components());
    STRATA_ASSIGN_OR_RETURN(const v1::Model model, options_.engine->Import(v1::KERAS, texts.architecture, {}, custom));
    STRATA_ASSIGN_OR_RETURN(parsed->definition, options_.registry->CompleteModel(model));
  }
  if (!texts.training.empty()) {
    auto training = options_.engine->ImportTraining(parsed->definition, texts.training);
    if (training.ok()) {
      *parsed->response.mutable_training() = *std::move(training);
    } else {
      parsed->response.add_warnings(
          absl::StrCat("training configuration: left out: ", std::string(training.status().message())));
    }
  }
  for (const auto& [name, tensor] : file.tensors) {
    if (name.rfind("optimizer_weights/", 0) != 0 && name.rfind("optimizer/", 0) != 0) continue;
    parsed->response.add_warnings("optimizer state: left out: a version has none");
    break;
  }
  STRATA_ASSIGN_OR_RETURN(const ModelFacts facts, options_.engine->Inspect(parsed->definition, nullptr, 1));
  STRATA_ASSIGN_OR_RETURN(parsed->weights, KerasWeights(parsed->definition, facts.parameters, file));
  parsed->has_weights = true;
  return absl::OkStatus();
}

absl::StatusOr<ModelFiles::Parsed> ModelFiles::Parse(const v1::ImportStart& start, v1::FileFormat format,
                                                     const std::string& bytes) const {
  Parsed parsed;
  parsed.response.set_format(format);
  switch (format) {
    case v1::NATIVE:
      STRATA_RETURN_IF_ERROR(ParseNative(bytes, &parsed));
      break;
    case v1::PYTORCH_STATE_DICT:
      STRATA_RETURN_IF_ERROR(ParseStateDict(start, bytes, &parsed));
      break;
    case v1::KERAS_HDF5:
    case v1::KERAS_WEIGHTS:
    case v1::KERAS_ARCHIVE:
      STRATA_RETURN_IF_ERROR(ParseKeras(start, bytes, &parsed));
      break;
    default:
      STRATA_RETURN_IF_ERROR(ParseDefinition(format, start, bytes, &parsed));
  }
  if (!start.name().empty()) {
    parsed.definition.set_name(start.name());
  } else {
    parsed.definition.set_name(UsableName(parsed.definition.name()));
  }
  return parsed;
}

absl::StatusOr<v1::ImportResponse> ModelFiles::Import(const v1::ImportStart& start, const std::string& bytes) const {
  STRATA_RETURN_IF_ERROR(CheckSize(static_cast<int64_t>(bytes.size())));
  if (!start.name().empty()) STRATA_RETURN_IF_ERROR(CheckName("name", start.name()));
  if (!start.digest().empty()) {
    const std::string digest = Sha256Hex(bytes);
    if (digest != absl::AsciiStrToLower(start.digest())) {
      return absl::DataLossError(absl::StrCat("digest: must be that of the bytes, ", digest, ", got ", start.digest()));
    }
  }
  STRATA_ASSIGN_OR_RETURN(const v1::FileFormat format, FormatOf(start, bytes));
  STRATA_ASSIGN_OR_RETURN(Parsed parsed, Parse(start, format, bytes));
  if (parsed.has_weights) {
    // Weights that the engine refuses must leave no model behind.
    STRATA_RETURN_IF_ERROR(options_.engine->CreateVersion(parsed.definition, parsed.weights, {.threads = 1}).status());
  }
  const std::string name = parsed.definition.name();
  const bool known = options_.registry->Find(name).ok();
  v1::CreateModelRequest create;
  *create.mutable_model() = parsed.definition;
  STRATA_ASSIGN_OR_RETURN(*parsed.response.mutable_model(), options_.registry->Create(create));
  if (!parsed.has_weights) return parsed.response;
  auto version = options_.registry->Publish(name, parsed.run, parsed.step, start.description(), parsed.weights);
  if (!version.ok()) {
    if (!known) options_.registry->Delete(name).IgnoreError();
    return version.status();
  }
  *parsed.response.mutable_version() = *std::move(version);
  STRATA_ASSIGN_OR_RETURN(*parsed.response.mutable_model(), options_.registry->Get(name));
  return parsed.response;
}

absl::StatusOr<std::string> ModelFiles::KerasBytes(v1::FileFormat format, const v1::Model& model,
                                                   const NamedTensors& weights, const std::string& run) const {
  STRATA_ASSIGN_OR_RETURN(const ModelFacts facts, options_.engine->Inspect(model, nullptr, 1));
  TensorFile file;
  if (format == v1::KERAS_WEIGHTS) {
    AddPathLayout(model, facts.parameters, weights, &file);
    return tool_.Pack(file.tensors, file.metadata);
  }
  STRATA_ASSIGN_OR_RETURN(const std::string architecture, options_.engine->Export(model, v1::KERAS_DEFINITION));
  if (format == v1::KERAS_ARCHIVE) {
    AddPathLayout(model, facts.parameters, weights, &file);
    nlohmann::json config = nlohmann::json::parse(architecture, nullptr, false);
    config["module"] = "keras";
    UsePublicClasses(&config);
    config["registered_name"] = nullptr;
    config.erase("keras_version");
    config.erase("backend");
    file.metadata[absl::StrCat(kMember, "config.json")] = config.dump();
    file.metadata[absl::StrCat(kMember, "metadata.json")] =
        R"({"keras_version": "2.21.0", "date_saved": "1980-01-01@00:00:00"})";
    file.metadata["container"] = "keras";
    return tool_.Pack(file.tensors, file.metadata);
  }
  AddLayerLayout(model, facts.parameters, weights, "model_weights", &file);
  const auto attribute = [&](const char* name, const std::string& text) {
    file.metadata[absl::StrCat(kAttribute, "@", name)] = nlohmann::json(text).dump();
  };
  attribute("model_config", architecture);
  attribute("keras_version", "2.21.0");
  attribute("backend", "tensorflow");
  if (!run.empty() && options_.training) {
    const auto config = options_.training(run);
    const auto text =
        config.ok() ? options_.engine->ExportTraining(*config) : absl::StatusOr<std::string>(config.status());
    if (text.ok()) attribute("training_config", *text);
  }
  file.metadata["container"] = "hdf5";
  return tool_.Pack(file.tensors, file.metadata);
}

absl::StatusOr<ExportedFile> ModelFiles::Export(const v1::ExportRequest& request) const {
  STRATA_ASSIGN_OR_RETURN(const auto entry, options_.registry->Find(request.model()));
  const v1::Model& model = entry->definition;
  ExportedFile out;
  v1::FileFormat format = request.format() == v1::FILE_FORMAT_UNSPECIFIED ? v1::NATIVE : request.format();
  out.header.set_format(format);
  const bool pytorch_words =
      format == v1::PYTORCH_STATE_DICT || format == v1::PYTORCH_SOURCE || format == v1::PYTORCH_DEFINITION;
  const bool keras_words = format == v1::KERAS_DEFINITION || format == v1::KERAS_WEIGHTS || format == v1::KERAS_HDF5 ||
                           format == v1::KERAS_ARCHIVE;
  if ((pytorch_words && model.dialect() != v1::PYTORCH) || (keras_words && model.dialect() != v1::KERAS)) {
    return InvalidArgument("format: must be one of ", v1::Dialect_Name(model.dialect()), "'s, got ",
                           v1::FileFormat_Name(format));
  }
  if (format == v1::DEFINITION) {
    STRATA_ASSIGN_OR_RETURN(out.bytes, CanonicalJson(model));
  } else if (format == v1::KERAS_DEFINITION || format == v1::PYTORCH_DEFINITION || format == v1::PYTORCH_SOURCE) {
    STRATA_ASSIGN_OR_RETURN(out.bytes, options_.engine->Export(model, format));
  } else {
    STRATA_ASSIGN_OR_RETURN(const v1::VersionInfo version,
                            options_.registry->DescribeVersion(request.model(), request.version()));
    STRATA_ASSIGN_OR_RETURN(TensorFile file, options_.registry->ReadWeights(request.model(), version.version()));
    out.header.set_version(version.version());
    if (format == v1::NATIVE) {
      NativeFile native{.definition = model,
                        .model = request.model(),
                        .run = version.run(),
                        .version = version.version(),
                        .step = version.step(),
                        .weights = std::move(file.tensors)};
      if (!version.run().empty() && options_.training) {
        if (auto config = options_.training(version.run()); config.ok()) native.training = *std::move(config);
      }
      out.bytes = WriteNative(native);
    } else if (format == v1::PYTORCH_STATE_DICT) {
      out.bytes = TensorFileBytes(file.tensors, {{"format", "pt"}});
    } else if (keras_words) {
      STRATA_ASSIGN_OR_RETURN(out.bytes, KerasBytes(format, model, file.tensors, version.run()));
    } else {
      return InvalidArgument("format: must be a known format, got ", static_cast<int>(format));
    }
  }
  out.header.set_size(static_cast<int64_t>(out.bytes.size()));
  out.header.set_digest(Sha256Hex(out.bytes));
  return out;
}

}  // namespace strata::service
