#include "service/core/registry.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/core/names.h"
#include "service/core/wire.h"

namespace strata::service {
namespace {

absl::Status UnknownModel(const std::string& name) {
  return absl::NotFoundError(absl::StrCat("model: must exist, got ", Quote(name)));
}

// Names are unique; a digest that is given is the content's, one that is not is filled in.
absl::Status CompleteAssets(v1::Model* model) {
  std::set<std::string> names;
  for (int i = 0; i < model->assets_size(); ++i) {
    v1::Asset* asset = model->mutable_assets(i);
    const std::string path = absl::StrCat("assets[", i, "]");
    if (asset->name().empty()) return InvalidArgument(path, ".name: must be given, got \"\"");
    if (!names.insert(asset->name()).second) {
      return InvalidArgument(path, ".name: must be unique, got ", Quote(asset->name()));
    }
    const std::string digest = Sha256Hex(asset->content());
    if (!asset->digest().empty() && !absl::EqualsIgnoreCase(asset->digest(), digest)) {
      return InvalidArgument(path, ".digest: must be the content's SHA-256, ", digest, ", got ",
                             Quote(asset->digest()));
    }
    asset->set_digest(digest);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int64_t> ParseVersion(absl::string_view path, const std::string& text) {
  int64_t number = 0;
  const bool digits = std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!digits || !absl::SimpleAtoi(text, &number) || number < 1) {
    return InvalidArgument(path, ": must be a version number, got ", Quote(text));
  }
  return number;
}

absl::StatusOr<int> PageSize(int32_t asked) {
  if (asked < 0 || asked > 1000) return InvalidArgument("page_size: must be in [0, 1000], got ", asked);
  return asked == 0 ? 100 : asked;
}

absl::Status ModelRegistry::Load() {
  absl::MutexLock change(&change_mutex_);
  STRATA_ASSIGN_OR_RETURN(std::vector<ModelRecord> models, options_.store->Models());
  STRATA_ASSIGN_OR_RETURN(const std::vector<VersionRecord> versions, options_.store->Versions());
  std::vector<std::pair<std::string, int64_t>> serving;
  {
    absl::MutexLock lock(&mutex_);
    for (ModelRecord& record : models) {
      auto entry = std::make_shared<ModelEntry>();
      entry->id = record.id;
      if (!entry->definition.ParseFromString(record.definition) || Sha256Hex(record.definition) != record.digest) {
        return absl::DataLossError(absl::StrCat("store: the definition of model ", record.name, " is damaged"));
      }
      const std::string name = record.name;
      if (record.serving_version > 0) serving.emplace_back(name, record.serving_version);
      models_[name] = Model{.entry = std::move(entry), .record = std::move(record)};
    }
    for (auto& [name, model] : models_) {
      for (const VersionRecord& v : versions) {
        if (v.model_id == model.record.id) model.versions[v.version] = v;
      }
    }
  }
  for (const auto& [name, number] : serving) {
    const absl::Status status = LoadVersion(name, number);
    options_.on_ready(name, status.ok());
    if (!status.ok()) {
      std::fprintf(stderr, "error: model %s version %ld: %s\n", name.c_str(), static_cast<long>(number),
                   status.ToString().c_str());
    }
  }
  return absl::OkStatus();
}

bool ModelRegistry::Ready() const {
  absl::MutexLock lock(&mutex_);
  return std::all_of(models_.begin(), models_.end(), [](const auto& pair) {
    const Model& m = pair.second;
    return m.record.serving_version == 0 || m.loaded.count(m.record.serving_version) != 0;
  });
}

CustomComponents ModelRegistry::Components(const CustomComponents& sent) const {
  CustomComponents all;
  if (options_.components != nullptr) all = options_.components->Definitions();
  all.MergeFrom(sent);
  return all;
}

v1::TrainingConfig ModelRegistry::WithComponents(const v1::TrainingConfig& config) const {
  v1::TrainingConfig whole = config;
  options_.engine->AddComponents(Components(), &whole);
  return whole;
}

absl::StatusOr<v1::Model> ModelRegistry::WholeModel(const v1::Model& model) const {
  v1::Model whole = model;
  STRATA_RETURN_IF_ERROR(CompleteAssets(&whole));
  options_.engine->AddComponents(Components(), &whole);
  return whole;
}

absl::StatusOr<v1::Model> ModelRegistry::CompleteModel(const v1::Model& model) const {
  STRATA_ASSIGN_OR_RETURN(const v1::Model whole, WholeModel(model));
  return options_.engine->Complete(whole);
}

absl::StatusOr<v1::Model> ModelRegistry::Definition(const v1::Model* model,
                                                    const v1::FrameworkDefinition* framework) const {
  if (model != nullptr) return WholeModel(*model);
  if (framework == nullptr) return InvalidArgument("definition: must be given as model or framework, got neither");
  if (framework->dialect() != v1::PYTORCH && framework->dialect() != v1::KERAS) {
    return InvalidArgument("framework.dialect: must be PYTORCH or KERAS, got ", static_cast<int>(framework->dialect()));
  }
  if (framework->json().empty()) return InvalidArgument("framework.json: must be given, got nothing");
  const std::vector<v1::Input> inputs(framework->inputs().begin(), framework->inputs().end());
  const CustomComponents custom = Components(framework->custom_components());
  return options_.engine->Import(framework->dialect(), framework->json(), inputs, custom);
}

absl::StatusOr<const ModelRegistry::Model*> ModelRegistry::FindLocked(const std::string& name) const {
  const auto it = models_.find(name);
  if (it == models_.end()) return UnknownModel(name);
  return &it->second;
}

absl::StatusOr<std::shared_ptr<const ModelEntry>> ModelRegistry::Find(const std::string& name) const {
  absl::MutexLock lock(&mutex_);
  STRATA_ASSIGN_OR_RETURN(const Model* model, FindLocked(name));
  return model->entry;
}

v1::ModelInfo ModelRegistry::InfoOf(const Model& model) {
  v1::ModelInfo info;
  info.set_name(model.record.name);
  *info.mutable_definition() = model.entry->definition;
  *info.mutable_created() = ToTimestamp(model.record.created);
  info.set_serving_version(model.record.serving_version);
  info.set_digest(model.record.digest);
  return info;
}

absl::StatusOr<v1::ModelInfo> ModelRegistry::Create(const v1::CreateModelRequest& request) {
  STRATA_ASSIGN_OR_RETURN(v1::Model given, Definition(request.has_model() ? &request.model() : nullptr,
                                                      request.has_framework() ? &request.framework() : nullptr));
  if (!request.name().empty()) given.set_name(request.name());
  // As it was given: errors name the client's own indices.
  STRATA_RETURN_IF_ERROR(options_.engine->Inspect(given, nullptr, 1).status());
  STRATA_RETURN_IF_ERROR(CheckName("name", given.name()));
  STRATA_ASSIGN_OR_RETURN(v1::Model definition, options_.engine->Complete(given));

  ModelRecord record{.name = definition.name(), .definition = CanonicalBytes(definition)};
  record.digest = Sha256Hex(record.definition);
  record.created = options_.clock->Now();
  absl::MutexLock change(&change_mutex_);
  {
    absl::MutexLock lock(&mutex_);
    if (const auto it = models_.find(record.name); it != models_.end()) {
      if (it->second.record.digest == record.digest) return InfoOf(it->second);
      return absl::AlreadyExistsError(absl::StrCat("name: another definition has it, got ", Quote(record.name)));
    }
  }
  STRATA_RETURN_IF_ERROR(options_.store->AddModel(&record));
  auto entry = std::make_shared<ModelEntry>();
  entry->id = record.id;
  entry->definition = std::move(definition);
  absl::MutexLock lock(&mutex_);
  Model& model = models_[record.name];
  model = Model{.entry = std::move(entry), .record = record};
  return InfoOf(model);
}

absl::StatusOr<v1::ModelInfo> ModelRegistry::Get(const std::string& name) const {
  absl::MutexLock lock(&mutex_);
  STRATA_ASSIGN_OR_RETURN(const Model* model, FindLocked(name));
  return InfoOf(*model);
}

absl::StatusOr<v1::ListModelsResponse> ModelRegistry::List(const v1::ListModelsRequest& request) const {
  STRATA_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size()));
  // The model of this name may be gone by now.
  if (!request.page_token().empty() && !CheckName("", request.page_token()).ok()) {
    return InvalidArgument("page_token: must come from an earlier answer, got ", Quote(request.page_token()));
  }
  v1::ListModelsResponse response;
  absl::MutexLock lock(&mutex_);
  // A token is the last name that was sent.
  for (auto it = models_.upper_bound(request.page_token()); it != models_.end(); ++it) {
    if (response.models_size() == size) {
      response.set_next_page_token(response.models(size - 1).name());
      break;
    }
    *response.add_models() = InfoOf(it->second);
  }
  return response;
}

absl::Status ModelRegistry::Delete(const std::string& name) {
  absl::MutexLock change(&change_mutex_);
  return DeleteLocked(name);
}

void ModelRegistry::DeleteUnused(const std::string& name) {
  absl::MutexLock change(&change_mutex_);
  {
    absl::MutexLock lock(&mutex_);
    const auto it = models_.find(name);
    if (it == models_.end() || !it->second.versions.empty()) return;
  }
  DeleteLocked(name).IgnoreError();
}

absl::Status ModelRegistry::DeleteLocked(const std::string& name) {
  STRATA_ASSIGN_OR_RETURN(const std::shared_ptr<const ModelEntry> entry, Find(name));
  STRATA_RETURN_IF_ERROR(options_.store->DeleteModel(entry->id));
  {
    absl::MutexLock lock(&mutex_);
    models_.erase(name);
    Trim();
  }
  options_.metrics->ModelGone(name);
  options_.on_gone(name);
  return absl::OkStatus();
}

absl::StatusOr<v1::ValidateModelResponse> ModelRegistry::Validate(const v1::ValidateModelRequest& request) const {
  const int64_t batch = request.batch_size() == 0 ? 1 : request.batch_size();
  if (batch < 0) return InvalidArgument("batch_size: must be >= 1, got ", batch);
  STRATA_ASSIGN_OR_RETURN(const v1::Model model, Definition(request.has_model() ? &request.model() : nullptr,
                                                            request.has_framework() ? &request.framework() : nullptr));
  const v1::TrainingConfig config = WithComponents(request.training());
  STRATA_ASSIGN_OR_RETURN(const ModelFacts facts,
                          options_.engine->Inspect(model, request.has_training() ? &config : nullptr, batch));
  v1::ValidateModelResponse response;
  const auto put = [](const PortSpec& port, v1::TensorSpec* spec) {
    spec->set_name(port.name);
    spec->set_dtype(ToWire(port.dtype));
    spec->mutable_shape()->Assign(port.shape.begin(), port.shape.end());
  };
  for (const PortSpec& port : facts.inputs) put(port, response.add_inputs());
  for (const PortSpec& port : facts.outputs) put(port, response.add_outputs());
  for (const ParameterSpec& p : facts.parameters) {
    v1::ParameterInfo* info = response.add_parameters();
    info->set_name(p.name);
    info->mutable_shape()->Assign(p.shape.begin(), p.shape.end());
    info->set_trainable(p.trainable && !p.buffer);
  }
  response.set_num_parameters(facts.num_parameters);
  response.set_num_trainable_parameters(facts.num_trainable);
  response.set_flops(facts.flops);
  response.set_weight_bytes(facts.weight_bytes);
  response.set_gradient_bytes(facts.gradient_bytes);
  response.set_optimizer_bytes(facts.optimizer_bytes);
  response.set_activation_bytes(facts.activation_bytes);
  return response;
}

absl::StatusOr<v1::SummaryResponse> ModelRegistry::Summary(const v1::SummaryRequest& request) const {
  v1::Model model;
  if (request.of_case() == v1::SummaryRequest::kName) {
    STRATA_ASSIGN_OR_RETURN(const std::shared_ptr<const ModelEntry> entry, Find(request.name()));
    model = entry->definition;
  } else if (request.of_case() == v1::SummaryRequest::kModel) {
    STRATA_ASSIGN_OR_RETURN(model, CompleteModel(request.model()));
  } else {
    return InvalidArgument("of: must be given as name or model, got neither");
  }
  SummaryOptions options{.line_length = request.line_length(),
                         .positions = {request.positions().begin(), request.positions().end()},
                         .expand_nested = request.expand_nested(),
                         .show_trainable = request.show_trainable()};
  switch (request.style()) {
    case v1::SummaryRequest::STYLE_UNSPECIFIED:
      options.style = model.dialect() == v1::KERAS ? "keras" : "pytorch";
      break;
    case v1::SummaryRequest::KERAS_TABLE:
      options.style = "keras";
      break;
    case v1::SummaryRequest::TORCHKERAS_TABLE:
      options.style = "torchkeras";
      break;
    case v1::SummaryRequest::PYTORCH_PRINT:
      options.style = "pytorch";
      break;
    default:
      return InvalidArgument("style: must be a known style, got ", static_cast<int>(request.style()));
  }
  v1::SummaryResponse response;
  STRATA_ASSIGN_OR_RETURN(*response.mutable_text(), options_.engine->Summarize(model, options));
  return response;
}

}  // namespace strata::service
