// The versions of ModelRegistry: publishing, rolling back, loading.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/core/names.h"
#include "service/core/registry.h"
#include "service/core/wire.h"

namespace strata::service {
namespace {

// The first answer compiles plans; it is given here and not to a client.
void WarmUp(const Version& version) {
  NamedTensors zeros;
  NamedViews views;
  for (const PortSpec& port : version.inputs()) {
    Shape shape = port.shape;
    if (!shape.empty() && shape[0] == -1) shape[0] = 1;
    if (std::any_of(shape.begin(), shape.end(), [](int64_t d) { return d < 0; })) return;
    const Tensor& tensor = zeros[port.name] = Tensor(port.dtype, shape);
    views[port.name] = tensor.view();
  }
  // Values that a model refuses (class indices, lengths) are no fault of the version.
  version.Predict(views).status().IgnoreError();
}

absl::Status UnknownVersion(const std::string& model, int64_t version) {
  return absl::NotFoundError(absl::StrCat("version: model ", Quote(model), " must have it, got ", version));
}

}  // namespace

Metadata ContentMetadata(const v1::Model& definition) {
  v1::Model content = definition;
  content.clear_name();
  return {{"format", "strata"}, {"definition_digest", Sha256Hex(CanonicalBytes(content))}};
}

v1::VersionInfo ModelRegistry::InfoOf(const Model& model, const VersionRecord& version) {
  v1::VersionInfo info;
  info.set_model(model.record.name);
  info.set_version(version.version);
  info.set_run(version.run);
  info.set_step(version.step);
  *info.mutable_created() = ToTimestamp(version.created);
  info.set_description(version.description);
  info.set_digest(version.stamp.digest);
  info.set_serving(version.version == model.record.serving_version);
  info.set_resumable(version.HasTraining());
  return info;
}

absl::StatusOr<std::shared_ptr<const Version>> ModelRegistry::Instantiate(const v1::Model& definition,
                                                                          NamedTensors weights) const {
  STRATA_ASSIGN_OR_RETURN(std::shared_ptr<const Version> version,
                          options_.engine->CreateVersion(definition, std::move(weights), {.threads = 1}));
  WarmUp(*version);
  return version;
}

absl::Status ModelRegistry::LoadVersion(const std::string& name, int64_t number) {
  std::shared_ptr<const ModelEntry> entry;
  VersionRecord record;
  {
    absl::MutexLock lock(&mutex_);
    STRATA_ASSIGN_OR_RETURN(const Model* model, FindLocked(name));
    if (model->loaded.count(number) != 0) return absl::OkStatus();
    const auto it = model->versions.find(number);
    if (it == model->versions.end()) return UnknownVersion(name, number);
    entry = model->entry;
    record = it->second;
  }
  STRATA_ASSIGN_OR_RETURN(TensorFile file, options_.store->ReadVersion(record));
  STRATA_ASSIGN_OR_RETURN(std::shared_ptr<const Version> version,
                          Instantiate(entry->definition, std::move(file.tensors)));
  absl::MutexLock lock(&mutex_);
  models_[name].loaded[number] = std::move(version);
  Trim();
  return absl::OkStatus();
}

void ModelRegistry::Trim() {
  const auto is_idle = [&](const std::pair<std::string, int64_t>& key) ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    const auto it = models_.find(key.first);
    return it != models_.end() && it->second.loaded.count(key.second) != 0 &&
           it->second.record.serving_version != key.second;
  };
  for (auto it = idle_.begin(); it != idle_.end();) it = is_idle(*it) ? std::next(it) : idle_.erase(it);
  int64_t count = 0, bytes = 0;
  for (const auto& [name, model] : models_) {
    for (const auto& [number, version] : model.loaded) {
      const std::pair<std::string, int64_t> key(name, number);
      ++count;
      bytes += version->memory_bytes();
      if (is_idle(key) && std::find(idle_.begin(), idle_.end(), key) == idle_.end()) idle_.push_back(key);
    }
  }
  for (; idle_.size() > options_.max_idle_versions; idle_.pop_front()) {
    auto& loaded = models_[idle_.front().first].loaded;
    const auto it = loaded.find(idle_.front().second);
    bytes -= it->second->memory_bytes();
    --count;
    loaded.erase(it);
  }
  options_.metrics->ModelsLoaded(count, bytes);
}

absl::StatusOr<v1::VersionInfo> ModelRegistry::Publish(const std::string& name, const std::string& run, int64_t step,
                                                       const std::string& description, NamedTensors weights,
                                                       const TensorFile* training, GrowingFile* grown) {
  STRATA_RETURN_IF_ERROR(CheckText("description", description, 1024));
  STRATA_ASSIGN_OR_RETURN(const std::shared_ptr<const ModelEntry> entry, Find(name));
  STRATA_ASSIGN_OR_RETURN(std::shared_ptr<const Version> version, Instantiate(entry->definition, std::move(weights)));
  VersionRecord record{
      .model_id = entry->id, .run = run, .step = step, .created = options_.clock->Now(), .description = description};
  absl::MutexLock change(&change_mutex_);
  STRATA_RETURN_IF_ERROR(
      options_.store->AddVersion(&record, version->weights(), ContentMetadata(entry->definition), training, grown));
  v1::VersionInfo info;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = models_.find(name);
    if (it == models_.end()) return absl::NotFoundError(absl::StrCat("model: was deleted, got ", Quote(name)));
    it->second.versions[record.version] = record;
    it->second.loaded[record.version] = std::move(version);
    it->second.record.serving_version = record.version;
    Trim();
    info = InfoOf(it->second, record);
  }
  options_.on_ready(name, true);
  return info;
}

absl::StatusOr<v1::ListVersionsResponse> ModelRegistry::ListVersions(const v1::ListVersionsRequest& request) const {
  v1::ListVersionsResponse response;
  absl::MutexLock lock(&mutex_);
  STRATA_ASSIGN_OR_RETURN(const Model* model, FindLocked(request.model()));
  for (const auto& [number, record] : model->versions) *response.add_versions() = InfoOf(*model, record);
  return response;
}

absl::StatusOr<v1::VersionInfo> ModelRegistry::Rollback(const v1::RollbackRequest& request) {
  if (request.version() < 0) return InvalidArgument("version: must be >= 0, got ", request.version());
  absl::MutexLock change(&change_mutex_);
  int64_t target = request.version();
  int64_t model_id = 0;
  {
    absl::MutexLock lock(&mutex_);
    STRATA_ASSIGN_OR_RETURN(const Model* model, FindLocked(request.model()));
    model_id = model->record.id;
    if (target == 0) {
      const auto serving = model->versions.find(model->record.serving_version);
      if (serving == model->versions.end() || serving == model->versions.begin()) {
        return absl::FailedPreconditionError(
            absl::StrCat("version: model ", Quote(request.model()), " has no version before the one that serves"));
      }
      target = std::prev(serving)->first;
    } else if (model->versions.count(target) == 0) {
      return UnknownVersion(request.model(), target);
    }
  }
  STRATA_RETURN_IF_ERROR(LoadVersion(request.model(), target));
  STRATA_RETURN_IF_ERROR(options_.store->SetServing(model_id, target));
  v1::VersionInfo info;
  {
    absl::MutexLock lock(&mutex_);
    Model& model = models_[request.model()];
    model.record.serving_version = target;
    Trim();
    info = InfoOf(model, model.versions[target]);
  }
  options_.on_ready(request.model(), true);
  return info;
}

absl::StatusOr<std::pair<VersionRecord, v1::VersionInfo>> ModelRegistry::RecordOf(const std::string& name,
                                                                                  int64_t version) const {
  absl::MutexLock lock(&mutex_);
  STRATA_ASSIGN_OR_RETURN(const Model* model, FindLocked(name));
  const int64_t number = version == 0 ? model->record.serving_version : version;
  if (number == 0) {
    return absl::FailedPreconditionError(absl::StrCat("model: no version is published, got ", Quote(name)));
  }
  const auto it = model->versions.find(number);
  if (it == model->versions.end()) return UnknownVersion(name, number);
  return std::make_pair(it->second, InfoOf(*model, it->second));
}

absl::StatusOr<v1::VersionInfo> ModelRegistry::DescribeVersion(const std::string& name, int64_t version) const {
  STRATA_ASSIGN_OR_RETURN(const auto record, RecordOf(name, version));
  return record.second;
}

absl::StatusOr<TensorFile> ModelRegistry::ReadWeights(const std::string& name, int64_t version) const {
  STRATA_ASSIGN_OR_RETURN(const auto record, RecordOf(name, version));
  auto file = options_.store->ReadVersion(record.first);
  // A file that is missing since its model was deleted is no damage.
  if (absl::IsDataLoss(file.status())) STRATA_RETURN_IF_ERROR(RecordOf(name, record.first.version).status());
  return file;
}

absl::StatusOr<std::optional<TrainingState>> ModelRegistry::ReadTraining(const std::string& name,
                                                                         int64_t version) const {
  STRATA_ASSIGN_OR_RETURN(const auto record, RecordOf(name, version));
  if (!record.first.HasTraining()) return std::nullopt;
  STRATA_ASSIGN_OR_RETURN(TensorFile file, options_.store->ReadVersionTraining(record.first));
  STRATA_ASSIGN_OR_RETURN(TrainingState state, TrainingFrom(std::move(file)));
  return state;
}

absl::StatusOr<LoadedVersion> ModelRegistry::Resolve(const std::string& name, const std::string& version) const {
  int64_t number = 0;
  if (!version.empty()) {
    STRATA_ASSIGN_OR_RETURN(number, ParseVersion("model_version", version));
  }
  absl::MutexLock lock(&mutex_);
  STRATA_ASSIGN_OR_RETURN(const Model* model, FindLocked(name));
  if (number == 0) number = model->record.serving_version;
  if (number == 0) {
    return absl::FailedPreconditionError(absl::StrCat("model: no version is published, got ", Quote(name)));
  }
  if (model->versions.count(number) == 0) return UnknownVersion(name, number);
  const auto loaded = model->loaded.find(number);
  return LoadedVersion{name, number, loaded == model->loaded.end() ? nullptr : loaded->second};
}

absl::StatusOr<LoadedVersion> ModelRegistry::Acquire(const std::string& name, const std::string& version) {
  STRATA_ASSIGN_OR_RETURN(LoadedVersion found, Resolve(name, version));
  if (found.version != nullptr) return found;
  absl::MutexLock change(&change_mutex_);
  STRATA_RETURN_IF_ERROR(LoadVersion(name, found.number));
  absl::MutexLock lock(&mutex_);
  STRATA_ASSIGN_OR_RETURN(const Model* model, FindLocked(name));
  const auto loaded = model->loaded.find(found.number);
  if (loaded == model->loaded.end()) return absl::UnavailableError("version: other versions need the memory");
  found.version = loaded->second;
  return found;
}

absl::StatusOr<std::vector<int64_t>> ModelRegistry::VersionNumbers(const std::string& name) const {
  absl::MutexLock lock(&mutex_);
  STRATA_ASSIGN_OR_RETURN(const Model* model, FindLocked(name));
  std::vector<int64_t> numbers;
  for (const auto& [number, record] : model->versions) numbers.push_back(number);
  return numbers;
}

}  // namespace strata::service
