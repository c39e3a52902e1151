#include "service/core/model_files.h"

#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "google/protobuf/util/json_util.h"
#include "service/core/file_kinds.h"
#include "service/core/keras_file.h"
#include "service/core/keras_optimizer.h"
#include "service/core/names.h"
#include "service/core/native_file.h"
#include "service/core/state_dict.h"

namespace strata::service {
namespace {

constexpr char kDefaultName[] = "imported";
// A file from here on is worth a thread that writes the version while it arrives.
constexpr int64_t kGrowBytes = int64_t{4} << 20;

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

absl::StatusOr<v1::FileFormat> FormatOf(const v1::ImportStart& start, IncomingFile& file) {
  v1::FileFormat found = v1::PYTORCH_STATE_DICT;
  if (file.is_tensors()) {
    found = KindOfTensors(file.tensors().metadata);
  } else {
    STRATA_ASSIGN_OR_RETURN(found, RecognizeFile(file.bytes()));
  }
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

// An answer must not be larger than what clients take.
void ListKeys(const char* what, const std::vector<std::string>& keys,
              google::protobuf::RepeatedPtrField<std::string>* list, v1::ImportResponse* response) {
  constexpr size_t kMaxBytes = size_t{1} << 20;
  size_t bytes = 0, listed = 0;
  for (; listed < keys.size() && bytes + keys[listed].size() <= kMaxBytes; ++listed) {
    bytes += keys[listed].size();
    *list->Add() = keys[listed];
  }
  if (listed == keys.size()) return;
  response->add_warnings(absl::StrCat(what, " keys: ", keys.size() - listed, " more than are listed"));
}

}  // namespace

absl::StatusOr<IncomingFile> ModelFiles::Begin(const v1::ImportStart& start) const {
  if (start.size() < 0 || start.size() > options_.max_bytes) {
    return InvalidArgument("size: must be in [0, ", options_.max_bytes, "], got ", start.size());
  }
  auto share = std::make_unique<ByteBudget::Share>(budget_.get());
  STRATA_RETURN_IF_ERROR(share->Reach(static_cast<uint64_t>(start.size())));
  std::unique_ptr<GrowingFile> growing;
  if (start.size() >= kGrowBytes) {
    growing = options_.registry->GrowVersion(
        [this, start](const TensorHeader& header) { return PlanVersion(start, header); });
  }
  return IncomingFile({.announced = static_cast<uint64_t>(start.size()),
                       .max_bytes = static_cast<uint64_t>(options_.max_bytes),
                       .digest_due = start.digest_follows() || !start.digest().empty(),
                       .growing = std::move(growing),
                       .share = std::move(share)});
}

std::optional<GrowingPlan> ModelFiles::PlanVersion(const v1::ImportStart& start, const TensorHeader& header) const {
  if (KindOfTensors(header.metadata) == v1::NATIVE && start.format() != v1::PYTORCH_STATE_DICT) return std::nullopt;
  bool existing = false;
  const auto definition = DefinitionFor(start, &existing);
  if (!definition.ok()) return std::nullopt;
  const auto facts = options_.engine->Inspect(*definition, nullptr, 1);
  if (!facts.ok() || facts->parameters.size() != header.entries.size()) return std::nullopt;
  std::map<std::string, size_t> entries;
  for (size_t i = 0; i < header.entries.size(); ++i) entries[header.entries[i].name] = i;
  NamedViews views;
  for (const ParameterSpec& p : facts->parameters) {
    const auto it = entries.find(p.name);
    if (it == entries.end()) return std::nullopt;
    const TensorEntry& entry = header.entries[it->second];
    // Other floats are turned into these.
    if (entry.shape != p.shape || (IsFloat(entry.dtype) && entry.dtype != DType::kF32)) return std::nullopt;
    views[p.name] = {entry.dtype, entry.shape, nullptr};
  }
  GrowingPlan plan;
  std::vector<std::string> order;
  plan.prefix = TensorFilePrefix(views, ContentMetadata(*definition), &order);
  for (const std::string& name : order) plan.order.push_back(entries.at(name));
  return plan;
}

CustomComponents ModelFiles::CustomFor(const v1::ImportStart& start) const {
  CustomComponents custom = options_.registry->Components(start.definition().custom_components());
  custom.MergeFrom(start.custom_components());
  return custom;
}

absl::StatusOr<v1::Model> ModelFiles::DefinitionFor(const v1::ImportStart& start, bool* existing) const {
  if (start.has_definition()) {
    const auto& given = start.definition();
    if (given.dialect() != v1::PYTORCH && given.dialect() != v1::KERAS) {
      return InvalidArgument("definition.dialect: must be PYTORCH or KERAS, got ", static_cast<int>(given.dialect()));
    }
    const std::vector<v1::Input> inputs(given.inputs().begin(), given.inputs().end());
    STRATA_ASSIGN_OR_RETURN(const v1::Model model,
                            options_.engine->Import(given.dialect(), given.json(), inputs, CustomFor(start)));
    return options_.registry->CompleteModel(model);
  }
  if (start.name().empty()) {
    return absl::InvalidArgumentError(
        "definition: must be given for a file of weights alone, or the name of a model, got neither");
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
    STRATA_ASSIGN_OR_RETURN(model, options_.engine->Import(dialect, bytes, inputs, CustomFor(start)));
  }
  STRATA_ASSIGN_OR_RETURN(parsed->definition, options_.registry->CompleteModel(model));
  return absl::OkStatus();
}

absl::Status ModelFiles::ParseNative(TensorFile file, Parsed* parsed) const {
  STRATA_ASSIGN_OR_RETURN(NativeFile native, ReadNative(std::move(file)));
  STRATA_ASSIGN_OR_RETURN(parsed->definition, options_.registry->CompleteModel(native.definition));
  STRATA_ASSIGN_OR_RETURN(const ModelFacts facts, options_.engine->Inspect(parsed->definition, nullptr, 1));
  STRATA_ASSIGN_OR_RETURN(Matched matched, MatchStateDict(parsed->definition.name(), facts.parameters,
                                                          std::move(native.weights), /*strict=*/true, {}));
  parsed->weights = std::move(matched.weights);
  parsed->has_weights = true;
  parsed->run = native.run;
  parsed->step = native.step;
  if (!native.training.has_value()) return absl::OkStatus();
  *parsed->response.mutable_training() = *native.training;
  // A version's configuration is lineage; a training goes on with its own.
  if (!native.state.empty()) parsed->training = TrainingState{*native.training, std::move(native.state)};
  return absl::OkStatus();
}

absl::Status ModelFiles::ParseStateDict(const v1::ImportStart& start, TensorFile file, Parsed* parsed) const {
  STRATA_ASSIGN_OR_RETURN(parsed->definition, DefinitionFor(start, &parsed->existing));
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
  ListKeys("missing", matched.missing, parsed->response.mutable_missing_keys(), &parsed->response);
  ListKeys("unexpected", matched.unexpected, parsed->response.mutable_unexpected_keys(), &parsed->response);
  parsed->weights = std::move(matched.weights);
  parsed->has_weights = true;
  return absl::OkStatus();
}

absl::Status ModelFiles::ParseKeras(const v1::ImportStart& start, std::string bytes, Parsed* parsed) const {
  STRATA_ASSIGN_OR_RETURN(TensorFile file, tool_.Unpack(std::move(bytes)));
  const KerasTexts texts = TextsOf(file);
  const bool weights_only = texts.architecture.empty() || start.format() == v1::KERAS_WEIGHTS;
  if (weights_only) {
    STRATA_ASSIGN_OR_RETURN(parsed->definition, DefinitionFor(start, &parsed->existing));
    parsed->response.set_format(v1::KERAS_WEIGHTS);
  } else {
    STRATA_ASSIGN_OR_RETURN(const v1::Model model,
                            options_.engine->Import(v1::KERAS, texts.architecture, {}, CustomFor(start)));
    STRATA_ASSIGN_OR_RETURN(parsed->definition, options_.registry->CompleteModel(model));
  }
  STRATA_ASSIGN_OR_RETURN(const ModelFacts facts, options_.engine->Inspect(parsed->definition, nullptr, 1));
  STRATA_ASSIGN_OR_RETURN(parsed->weights, KerasWeights(parsed->definition, facts.parameters, &file));
  parsed->has_weights = true;
  if (!weights_only && !texts.training.empty()) {
    ParseKerasTraining(start, texts.training, facts.parameters, file, parsed);
  }
  return absl::OkStatus();
}

// What Strata cannot take of a training is left out of an import, with the reasons; the model is good all the same.
void ModelFiles::ParseKerasTraining(const v1::ImportStart& start, const std::string& text,
                                    const std::vector<ParameterSpec>& parameters, const TensorFile& file,
                                    Parsed* parsed) const {
  std::vector<std::string> left_out;
  auto config = options_.engine->ImportTraining(parsed->definition, text, CustomFor(start), &left_out);
  for (const std::string& what : left_out) {
    parsed->response.add_warnings(absl::StrCat("training configuration: left out: ", what));
  }
  if (!config.ok()) {
    parsed->response.add_warnings(
        absl::StrCat("training configuration: left out: ", std::string(config.status().message())));
    return;
  }
  // Without a loss nothing can go on.
  const bool goes_on = !config->objectives().empty() && config->has_optimizer();
  NamedTensors state;
  if (goes_on) {
    auto found = KerasOptimizerState(parsed->definition, parameters, *config, file);
    if (found.ok()) {
      state = *std::move(found);
    } else {
      parsed->response.add_warnings(absl::StrCat("optimizer state: left out: ", std::string(found.status().message())));
    }
  }
  CompleteNadamProduct(parsed->definition, parameters, state, &*config);
  *parsed->response.mutable_training() = *config;
  if (goes_on) parsed->training = TrainingState{*std::move(config), std::move(state)};
}

absl::Status ModelFiles::Check(Parsed* parsed) const {
  if (!parsed->training.has_value() || parsed->training->tensors.empty()) return absl::OkStatus();
  STRATA_ASSIGN_OR_RETURN(const std::unique_ptr<TrainSession> session,
                          options_.engine->CreateSession(parsed->definition, parsed->training->config, {.threads = 1}));
  NamedTensors checkpoint = JoinCheckpoint(std::move(parsed->weights), std::move(parsed->training->tensors));
  const absl::Status status = session->Load(checkpoint);
  parsed->weights.clear();
  parsed->training->tensors.clear();
  SplitCheckpoint(std::move(checkpoint), &parsed->weights, &parsed->training->tensors);
  return status;
}

absl::StatusOr<ModelFiles::Parsed> ModelFiles::Parse(const v1::ImportStart& start, v1::FileFormat format,
                                                     IncomingFile* file) const {
  Parsed parsed;
  parsed.response.set_format(format);
  switch (format) {
    case v1::NATIVE:
      STRATA_RETURN_IF_ERROR(ParseNative(std::move(file->tensors()), &parsed));
      break;
    case v1::PYTORCH_STATE_DICT:
      STRATA_RETURN_IF_ERROR(ParseStateDict(start, std::move(file->tensors()), &parsed));
      break;
    case v1::KERAS_HDF5:
    case v1::KERAS_WEIGHTS:
    case v1::KERAS_ARCHIVE:
      STRATA_RETURN_IF_ERROR(ParseKeras(start, file->TakeBytes(), &parsed));
      break;
    default:
      STRATA_RETURN_IF_ERROR(ParseDefinition(format, start, file->bytes(), &parsed));
  }
  if (!parsed.existing) parsed.response.set_name_in_file(parsed.definition.name());
  if (!start.name().empty()) {
    parsed.definition.set_name(start.name());
  } else {
    parsed.definition.set_name(UsableName(parsed.definition.name()));
  }
  return parsed;
}

absl::StatusOr<v1::ImportResponse> ModelFiles::Import(const v1::ImportStart& start, IncomingFile file) const {
  if (!start.name().empty()) STRATA_RETURN_IF_ERROR(CheckName("name", start.name()));
  if (start.digest_follows() && start.digest().empty()) {
    return absl::DataLossError("digest: must follow the chunks as start says, got nothing");
  }
  if (!start.digest().empty()) {
    const std::string digest = file.Digest();
    if (digest != absl::AsciiStrToLower(start.digest())) {
      return absl::DataLossError(
          absl::StrCat("digest: must be that of the bytes, ", digest, ", got ", Quote(start.digest())));
    }
  }
  const std::unique_ptr<GrowingFile> grown = file.TakeGrowing();
  STRATA_RETURN_IF_ERROR(file.Finish());
  STRATA_ASSIGN_OR_RETURN(const v1::FileFormat format, FormatOf(start, file));
  STRATA_ASSIGN_OR_RETURN(Parsed parsed, Parse(start, format, &file));
  if (const absl::Status fits = Check(&parsed); !fits.ok()) {
    // A checkpoint of ours is whole or broken; a model of Keras is good without its training.
    if (format == v1::NATIVE) return fits;
    parsed.training.reset();
    parsed.response.add_warnings(absl::StrCat("training: left out: ", std::string(fits.message())));
  }
  const std::string name = parsed.definition.name();
  const bool known = options_.registry->Find(name).ok();
  v1::CreateModelRequest create;
  *create.mutable_model() = parsed.definition;
  STRATA_ASSIGN_OR_RETURN(*parsed.response.mutable_model(), options_.registry->Create(create));
  if (!parsed.has_weights) return parsed.response;
  std::optional<TensorFile> training;
  if (parsed.training.has_value()) training = ToFile(*std::move(parsed.training));
  auto version =
      options_.registry->Publish(name, parsed.run, parsed.step, start.description(), std::move(parsed.weights),
                                 training.has_value() ? &*training : nullptr, grown.get());
  if (!version.ok()) {
    // Weights that the engine refuses leave no model behind.
    if (!known) options_.registry->DeleteUnused(name);
    return version.status();
  }
  *parsed.response.mutable_version() = *std::move(version);
  STRATA_ASSIGN_OR_RETURN(*parsed.response.mutable_model(), options_.registry->Get(name));
  return parsed.response;
}

}  // namespace strata::service
