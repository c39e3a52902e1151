#include "service/core/run_manager.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "engine/base/status.h"
#include "service/core/names.h"
#include "service/core/native_file.h"

namespace strata::service {

RunManager::RunManager(const Options& options) : options_(options) {
  history_ = std::make_unique<HistoryWriter>(
      options_.store, HistoryWriter::Options{.interval = options_.history_interval,
                                             .on_commit = [this](const std::vector<int64_t>& ids) {
                                               std::vector<std::shared_ptr<Run>> touched;
                                               {
                                                 absl::MutexLock lock(&mutex_);
                                                 for (const int64_t id : ids) {
                                                   if (const auto it = by_id_.find(id); it != by_id_.end()) {
                                                     touched.push_back(it->second);
                                                   }
                                                 }
                                               }
                                               for (const auto& run : touched) run->NotifyWatchers();
                                             }});
  files_ = std::make_unique<WorkerPool>(WorkerPool::Options{.name = "files", .threads = 1, .nice = options_.nice});
  context_ = {.store = options_.store,
              .history = history_.get(),
              .registry = options_.registry,
              .engine = options_.engine,
              .clock = options_.clock,
              .metrics = options_.metrics,
              .files = files_.get(),
              .session = options_.session,
              .window = options_.window,
              .build = options_.build,
              .enter = [this] { return Enter(); },
              .leave = [this] { options_.metrics->RunsActive(--active_); }};
  options_.metrics->RunsActive(0);
  for (int i = 0; i < options_.executors; ++i) executors_.push_back(std::make_unique<Executor>(options_.nice));
}

RunManager::~RunManager() {
  for (const auto& executor : executors_) executor->Stop();
  files_ = nullptr;
  history_ = nullptr;
}

std::shared_ptr<Run> RunManager::Make(std::shared_ptr<const ModelEntry> model, RunRecord record,
                                      v1::TrainingConfig config) {
  Executor* executor = executors_[static_cast<size_t>(record.id) % executors_.size()].get();
  const std::string model_name = model->definition.name();
  auto run =
      std::make_shared<Run>(&context_, executor, model_name, std::move(model), std::move(record), std::move(config));
  absl::MutexLock lock(&mutex_);
  runs_[run->name()] = run;
  by_id_[run->id()] = run;
  return run;
}

absl::Status RunManager::Load() {
  STRATA_ASSIGN_OR_RETURN(const std::vector<RunRecord> records, options_.store->Runs());
  STRATA_ASSIGN_OR_RETURN(const std::vector<ModelRecord> models, options_.store->Models());
  std::map<int64_t, std::string> names;
  for (const ModelRecord& m : models) names[m.id] = m.name;
  for (const RunRecord& record : records) {
    STRATA_ASSIGN_OR_RETURN(auto model, options_.registry->Find(names[record.model_id]));
    v1::TrainingConfig config;
    if (!config.ParseFromString(record.config)) {
      return absl::DataLossError(absl::StrCat("store: the configuration of run ", record.name, " is damaged"));
    }
    Make(std::move(model), record, std::move(config));
  }
  return absl::OkStatus();
}

absl::Status RunManager::Admit() const {
  if (draining_) return absl::UnavailableError("the server is shutting down");
  if (active_ >= options_.max_active) {
    return absl::ResourceExhaustedError(absl::StrCat("runs: ", options_.max_active, " train already"));
  }
  return absl::OkStatus();
}

bool RunManager::Enter() {
  int now = active_;
  do {
    if (now >= options_.max_active) return false;
  } while (!active_.compare_exchange_weak(now, now + 1));
  options_.metrics->RunsActive(now + 1);
  return true;
}

std::string RunManager::NewName(const std::string& model) const {
  const std::string stem = absl::StrCat(model.substr(0, 40), "-",
                                        absl::FormatTime("%Y%m%d-%H%M%S", options_.clock->Now(), absl::UTCTimeZone()));
  std::string name = stem;
  for (int i = 2; runs_.count(name) != 0; ++i) name = absl::StrCat(stem, "-", i);
  return name;
}

absl::StatusOr<std::shared_ptr<Run>> RunManager::Start(const v1::StartRun& request, std::shared_ptr<TrainSink> sink,
                                                       uint64_t request_id) {
  STRATA_ASSIGN_OR_RETURN(std::shared_ptr<const ModelEntry> model, options_.registry->Find(request.model()));
  if (!request.run().empty()) STRATA_RETURN_IF_ERROR(CheckName("start.run", request.run()));
  if (request.config().checkpoint_every_steps() < 0) {
    return InvalidArgument("start.config.checkpoint_every_steps: must be >= 0, got ",
                           request.config().checkpoint_every_steps());
  }
  {
    absl::MutexLock lock(&mutex_);
    STRATA_RETURN_IF_ERROR(Admit());
    if (runs_.count(request.run()) != 0) {
      return absl::AlreadyExistsError(absl::StrCat("start.run: is taken, got ", Quote(request.run())));
    }
  }
  const absl::Time now = options_.clock->Now();
  RunRecord record{.model_id = model->id, .state = v1::QUEUED, .created = now, .updated = now};
  v1::TrainingConfig config = request.config();
  std::optional<TensorFile> start;
  if (request.has_from()) {
    STRATA_ASSIGN_OR_RETURN(start, StartFrom(request, &config, &record));
  }
  config = options_.registry->WithComponents(config);
  // Two rows: of a single one some layers can compute no statistics.
  STRATA_RETURN_IF_ERROR(options_.engine->Inspect(model->definition, &config, 2).status());
  record.config = config.SerializeAsString();
  // A model is not deleted between its check and its new run.
  absl::MutexLock change(&change_mutex_);
  {
    absl::MutexLock lock(&mutex_);
    STRATA_RETURN_IF_ERROR(Admit());
    record.name = request.run().empty() ? NewName(request.model()) : request.run();
  }
  if (start.has_value()) {
    start->metadata = CheckpointMetadata({.definition = &model->definition,
                                          .training = &config,
                                          .model = request.model(),
                                          .run = record.name,
                                          .build = options_.build,
                                          .instruction_set = options_.engine->instruction_set(),
                                          .step = record.durable_through,
                                          .threads = options_.session.threads},
                                         start->tensors);
  }
  const absl::Status added = options_.store->AddRun(&record, start.has_value() ? &*start : nullptr);
  if (absl::IsAlreadyExists(added)) {
    return absl::AlreadyExistsError(absl::StrCat("start.run: is taken, got ", Quote(record.name)));
  }
  STRATA_RETURN_IF_ERROR(added);
  std::shared_ptr<Run> run = Make(std::move(model), std::move(record), config);
  run->Attach(std::move(sink), request_id);
  return run;
}

absl::StatusOr<TensorFile> RunManager::StartFrom(const v1::StartRun& request, v1::TrainingConfig* config,
                                                 RunRecord* record) const {
  const v1::RunStart& from = request.from();
  if (from.version() < 0) return InvalidArgument("start.from.version: must be >= 0, got ", from.version());
  STRATA_ASSIGN_OR_RETURN(const v1::VersionInfo version,
                          options_.registry->DescribeVersion(request.model(), from.version()));
  STRATA_ASSIGN_OR_RETURN(TensorFile weights, options_.registry->ReadWeights(request.model(), version.version()));
  STRATA_ASSIGN_OR_RETURN(std::optional<TrainingState> training,
                          options_.registry->ReadTraining(request.model(), version.version()));
  if (!request.has_config()) {
    const auto run = Find(version.run());
    if (training.has_value()) {
      *config = training->config;
    } else if (run.ok()) {
      *config = (*run)->Info().config();
    } else {
      return InvalidArgument("start.config: must be given, for version ", version.version(),
                             " came without one, got nothing");
    }
  }
  TensorFile start;
  NamedTensors rest;
  if (training.has_value() && !from.weights_only() && !training->tensors.empty()) {
    const auto kind = training->config.optimizer().kind_case();
    if (config->optimizer().kind_case() != kind) {
      return InvalidArgument("start.config.optimizer: must be of the kind whose state version ", version.version(),
                             " came with (from.weights_only leaves the state out), got another");
    }
    record->durable_through = training->step();
    rest = std::move(training->tensors);
  }
  start.tensors = JoinCheckpoint(std::move(weights.tensors), std::move(rest));
  return start;
}

absl::StatusOr<RunCheckpoint> RunManager::ReadCheckpoint(const std::string& name) const {
  STRATA_ASSIGN_OR_RETURN(const std::shared_ptr<Run> run, Find(name));
  RunRecord record = run->Saved();
  for (int attempt = 0;; ++attempt) {
    if (!record.HasCheckpoint()) {
      return absl::FailedPreconditionError(absl::StrCat("run: must have a checkpoint, got none yet of ", Quote(name)));
    }
    absl::StatusOr<TensorFile> file = options_.store->ReadCheckpoint(record);
    if (file.ok())
      return RunCheckpoint{run->model_name(), run->Info().config(), record.durable_through, *std::move(file)};
    // A later checkpoint may have taken its place meanwhile.
    const RunRecord now = run->Saved();
    if (now.durable_through == record.durable_through || attempt == 5) return file.status();
    record = now;
  }
}

absl::StatusOr<std::shared_ptr<Run>> RunManager::Attach(const v1::AttachRun& request, std::shared_ptr<TrainSink> sink,
                                                        uint64_t request_id) {
  STRATA_ASSIGN_OR_RETURN(std::shared_ptr<Run> run, Find(request.run()));
  {
    absl::MutexLock lock(&mutex_);
    if (draining_) return absl::UnavailableError("the server is shutting down");
    // A run that has a client already changes hands.
    if (run->state() == v1::INTERRUPTED) STRATA_RETURN_IF_ERROR(Admit());
  }
  run->Attach(std::move(sink), request_id);
  return run;
}

absl::StatusOr<std::shared_ptr<Run>> RunManager::Find(const std::string& name) const {
  absl::MutexLock lock(&mutex_);
  const auto it = runs_.find(name);
  if (it == runs_.end()) return absl::NotFoundError(absl::StrCat("run: must exist, got ", Quote(name)));
  return it->second;
}

absl::StatusOr<v1::ListRunsResponse> RunManager::List(const v1::ListRunsRequest& request) const {
  STRATA_ASSIGN_OR_RETURN(const int size, PageSize(request.page_size()));
  // A token is the number of the last run that was sent.
  int64_t after = 0;
  if (!request.page_token().empty() && (!absl::SimpleAtoi(request.page_token(), &after) || after < 0)) {
    return InvalidArgument("page_token: must come from an earlier answer, got ", Quote(request.page_token()));
  }
  if (!request.model().empty()) STRATA_RETURN_IF_ERROR(options_.registry->Find(request.model()).status());
  v1::ListRunsResponse response;
  absl::MutexLock lock(&mutex_);
  for (auto it = by_id_.upper_bound(after); it != by_id_.end(); ++it) {
    if (!request.model().empty() && it->second->model_name() != request.model()) continue;
    if (response.runs_size() == size) {
      response.set_next_page_token(absl::StrCat(after));
      break;
    }
    after = it->first;
    *response.add_runs() = it->second->Info();
  }
  return response;
}

absl::StatusOr<std::unique_ptr<Watcher>> RunManager::Watch(const v1::WatchRunRequest& request,
                                                           std::function<void()> wake) const {
  STRATA_ASSIGN_OR_RETURN(std::shared_ptr<Run> run, Find(request.run()));
  return std::make_unique<Watcher>(std::move(run), options_.store, request.from_step(), std::move(wake));
}

std::vector<std::string> RunManager::RunsWithWeights(const std::string& model) const {
  std::vector<std::string> names;
  absl::MutexLock lock(&mutex_);
  for (const auto& [id, run] : by_id_) {
    if (run->model_name() != model) continue;
    const v1::RunInfo info = run->Info();
    const bool in_memory = info.state() == v1::RUNNING || info.state() == v1::CHECKPOINTING;
    if (info.durable_through() > 0 || (in_memory && info.step() > 0)) names.push_back(run->name());
  }
  return names;
}

void RunManager::CopyWeights(const std::string& model, const std::string& name, WeightsCallback done) {
  const absl::StatusOr<std::shared_ptr<Run>> run = Find(name);
  if (!run.ok()) return done(run.status(), 0);
  if ((*run)->model_name() != model) {
    return done(InvalidArgument("run: must train model ", Quote(model), ", got ", Quote(name), " of model ",
                                Quote((*run)->model_name())),
                0);
  }
  (*run)->CopyWeights(v1::WEIGHT_CHOICE_UNSPECIFIED, std::move(done));
}

void RunManager::Publish(const v1::PublishRequest& request, PublishCallback done) {
  if (const auto model = options_.registry->Find(request.model()); !model.ok()) return done(model.status());
  const absl::StatusOr<std::shared_ptr<Run>> run = Find(request.run());
  if (!run.ok()) return done(run.status());
  if ((*run)->model_name() != request.model()) {
    return done(InvalidArgument("run: must train model ", Quote(request.model()), ", got ", Quote(request.run()),
                                " of model ", Quote((*run)->model_name())));
  }
  (*run)->Publish(request.description(), request.weights(), std::move(done));
}

absl::Status RunManager::DeleteModel(const std::string& name) {
  std::vector<std::shared_ptr<Run>> gone;
  absl::MutexLock change(&change_mutex_);
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [run_name, run] : runs_) {
      if (run->model_name() != name) continue;
      const int state = run->state();
      if (state != v1::INTERRUPTED && !IsTerminal(state)) {
        return absl::FailedPreconditionError(
            absl::StrCat("model: run ", Quote(run_name), " trains it, got ", Quote(name)));
      }
      gone.push_back(run);
    }
  }
  STRATA_RETURN_IF_ERROR(options_.registry->Delete(name));
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& run : gone) {
      runs_.erase(run->name());
      by_id_.erase(run->id());
    }
  }
  for (const auto& run : gone) {
    run->Forget(absl::NotFoundError(absl::StrCat("run: was deleted, got ", Quote(run->name()))));
  }
  return absl::OkStatus();
}

bool RunManager::Drain(absl::Time deadline) {
  struct Pending {
    absl::Mutex mutex;
    int count ABSL_GUARDED_BY(mutex) = 0;
  };
  auto pending = std::make_shared<Pending>();
  std::vector<std::shared_ptr<Run>> live;
  {
    absl::MutexLock lock(&mutex_);
    draining_ = true;
    for (const auto& [name, run] : runs_) {
      if (!IsTerminal(run->state())) live.push_back(run);
    }
  }
  {
    absl::MutexLock lock(&pending->mutex);
    pending->count = static_cast<int>(live.size());
  }
  for (const auto& run : live) {
    run->Stop([pending] {
      absl::MutexLock lock(&pending->mutex);
      --pending->count;
    });
  }
  bool saved;
  {
    absl::MutexLock lock(&pending->mutex);
    const auto none = [](Pending* p) ABSL_SHARED_LOCKS_REQUIRED(p->mutex) { return p->count == 0; };
    saved = pending->mutex.AwaitWithDeadline(absl::Condition(+none, pending.get()), deadline);
  }
  for (const auto& run : live) run->Forget(absl::UnavailableError("the server is shutting down"));
  return saved;
}

}  // namespace strata::service
