// Models, their definitions and their published versions.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "service/core/clock.h"
#include "service/core/components.h"
#include "service/core/engine.h"
#include "service/core/training_state.h"
#include "service/obs/metrics.h"
#include "service/store/store.h"
#include "strata/v1/services.pb.h"

namespace strata::service {

// A definition, as runs and versions use it. Immutable.
struct ModelEntry {
  int64_t id = 0;
  v1::Model definition;  // complete: every default is filled in
};

// A version that can answer. Holding it keeps it alive, whatever happens to its model.
struct LoadedVersion {
  std::string model;
  int64_t number = 0;
  std::shared_ptr<const Version> version;  // null: known, not loaded
};

// Thread-safe. Functions block on the disk and the engine unless they say otherwise.
class ModelRegistry {
 public:
  struct Options {
    Store* store = nullptr;
    const Engine* engine = nullptr;
    const Clock* clock = nullptr;
    Metrics* metrics = nullptr;
    // What models may name; null: nothing.
    const ComponentRegistry* components = nullptr;
    // Versions in memory besides those that serve; the least recently used goes first.
    size_t max_idle_versions = 4;
    // A model can (or can no longer) answer requests without a version number. Must not block.
    std::function<void(const std::string& model, bool ready)> on_ready = [](const std::string&, bool) {};
    // A model was deleted. Must not block.
    std::function<void(const std::string& model)> on_gone = [](const std::string&) {};
  };
  explicit ModelRegistry(const Options& options) : options_(options) {}

  // Reads the store and loads the versions that serve. A version that cannot be loaded leaves its model not ready.
  absl::Status Load();
  // Every serving version is in memory. Does not block.
  bool Ready() const;

  absl::StatusOr<v1::ModelInfo> Create(const v1::CreateModelRequest& request);
  absl::StatusOr<v1::ModelInfo> Get(const std::string& name) const;
  absl::StatusOr<v1::ListModelsResponse> List(const v1::ListModelsRequest& request) const;
  absl::StatusOr<v1::ValidateModelResponse> Validate(const v1::ValidateModelRequest& request) const;
  absl::StatusOr<v1::SummaryResponse> Summary(const v1::SummaryRequest& request) const;
  // Callers make sure first that no run trains the model.
  absl::Status Delete(const std::string& name);
  // Deletes it if it has no version: somebody else may have published one since it was made.
  void DeleteUnused(const std::string& name);
  absl::StatusOr<std::shared_ptr<const ModelEntry>> Find(const std::string& name) const;
  // What class names may mean: the registered components, then those that a client has sent.
  CustomComponents Components(const CustomComponents& sent = {}) const;
  // The definition with its defaults and the registered components that it names.
  absl::StatusOr<v1::Model> CompleteModel(const v1::Model& model) const;
  // The registered components that a training configuration names become part of it.
  v1::TrainingConfig WithComponents(const v1::TrainingConfig& config) const;

  // Makes `weights` the newest version, and the one that serves. `training`, if given, is kept with it. `grown`, if
  // given, may be the version's file already; it has been told its End.
  absl::StatusOr<v1::VersionInfo> Publish(const std::string& model, const std::string& run, int64_t step,
                                          const std::string& description, NamedTensors weights,
                                          const TensorFile* training = nullptr, GrowingFile* grown = nullptr);
  // The file of a version that may be published later with the weights that arrive just now.
  std::unique_ptr<GrowingFile> GrowVersion(GrowingFile::Planner planner) const {
    return options_.store->GrowVersion(std::move(planner));
  }
  absl::StatusOr<v1::ListVersionsResponse> ListVersions(const v1::ListVersionsRequest& request) const;
  absl::StatusOr<v1::VersionInfo> Rollback(const v1::RollbackRequest& request);
  // A version and its weights; 0 is the one that serves.
  absl::StatusOr<v1::VersionInfo> DescribeVersion(const std::string& model, int64_t version) const;
  absl::StatusOr<TensorFile> ReadWeights(const std::string& model, int64_t version) const;
  // The training that the version came with; nothing if it came without.
  absl::StatusOr<std::optional<TrainingState>> ReadTraining(const std::string& model, int64_t version) const;

  // The version that a request means: a number in decimal digits, or empty for the one that serves. Does not block; the
  // version may not be loaded.
  absl::StatusOr<LoadedVersion> Resolve(const std::string& model, const std::string& version) const;
  // As Resolve, and loads it.
  absl::StatusOr<LoadedVersion> Acquire(const std::string& model, const std::string& version);
  // Version numbers of a model, ascending. Does not block.
  absl::StatusOr<std::vector<int64_t>> VersionNumbers(const std::string& model) const;

 private:
  struct Model {
    std::shared_ptr<const ModelEntry> entry;
    ModelRecord record;
    std::map<int64_t, VersionRecord> versions;
    std::map<int64_t, std::shared_ptr<const Version>> loaded;
  };

  // With the registered components that the model names.
  absl::StatusOr<v1::Model> WholeModel(const v1::Model& model) const;
  // As the client gave it, in either form; not complete.
  absl::StatusOr<v1::Model> Definition(const v1::Model* model, const v1::FrameworkDefinition* framework) const;
  absl::StatusOr<const Model*> FindLocked(const std::string& name) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  static v1::ModelInfo InfoOf(const Model& model);
  static v1::VersionInfo InfoOf(const Model& model, const VersionRecord& version);
  absl::StatusOr<std::shared_ptr<const Version>> Instantiate(const v1::Model& definition, NamedTensors weights) const;
  absl::StatusOr<std::pair<VersionRecord, v1::VersionInfo>> RecordOf(const std::string& model, int64_t version) const;
  absl::Status LoadVersion(const std::string& model, int64_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  absl::Status DeleteLocked(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  // Forgets idle versions beyond the limit and tells the metrics what is left.
  void Trim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  // Held across the disk by whatever changes a model or loads a version; taken before mutex_.
  absl::Mutex change_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable absl::Mutex mutex_;
  std::map<std::string, Model> models_ ABSL_GUARDED_BY(mutex_);
  // Loaded versions that do not serve, least recently loaded first.
  std::list<std::pair<std::string, int64_t>> idle_ ABSL_GUARDED_BY(mutex_);
};

// What a version's file says besides weights and buffers, so that its digest is one of the whole content: equal for
// equal weights of equal definitions, whenever, from where and under which name they are published.
Metadata ContentMetadata(const v1::Model& definition);

// Version numbers on the wire: decimal digits, at least 1.
absl::StatusOr<int64_t> ParseVersion(absl::string_view path, const std::string& text);

// Page sizes on the wire: 0 is 100, at most 1000.
absl::StatusOr<int> PageSize(int32_t asked);

}  // namespace strata::service
