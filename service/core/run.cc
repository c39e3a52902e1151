#include "service/core/run.h"

#include <cstdio>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/core/names.h"
#include "service/core/wire.h"

namespace strata::service {

bool IsTerminal(int state) { return state == v1::SUCCEEDED || state == v1::FAILED || state == v1::CANCELLED; }

Run::Run(const RunContext* context, Executor* executor, std::string model_name, std::shared_ptr<const ModelEntry> model,
         RunRecord record, v1::TrainingConfig config)
    : context_(context),
      executor_(executor),
      name_(record.name),
      model_name_(std::move(model_name)),
      id_(record.id),
      model_(std::move(model)),
      config_(std::move(config)),
      checkpoint_every_(config_.checkpoint_every_steps() > 0 ? config_.checkpoint_every_steps() : 500),
      record_(std::move(record)),
      // Numbers of attachments grow across restarts of the server too.
      epoch_(static_cast<uint64_t>(absl::ToUnixMicros(context->clock->Now()))) {
  v1::RunInfo info;
  info.set_run(name_);
  info.set_model(model_name_);
  info.set_state(static_cast<v1::RunState>(record_.state));
  *info.mutable_config() = config_;
  info.set_durable_through(static_cast<uint64_t>(record_.durable_through));
  *info.mutable_created() = ToTimestamp(record_.created);
  *info.mutable_updated() = ToTimestamp(record_.updated);
  info.set_error(record_.error);
  info.set_step(static_cast<uint64_t>(record_.durable_through));
  if (const auto row = context_->store->ReadLast(id_, /*evaluation=*/false); row.ok()) {
    info.mutable_last()->ParseFromString(row->payload);
    info.set_step(static_cast<uint64_t>(row->step));
  }
  if (const auto row = context_->store->ReadLast(id_, /*evaluation=*/true); row.ok()) {
    info.mutable_last_evaluation()->ParseFromString(row->payload);
  }
  step_ = static_cast<int64_t>(info.step());
  position_ = context_->store->LastPosition(id_).value_or(0);
  absl::MutexLock lock(&mutex_);
  info_ = std::move(info);
  saved_ = record_;
}

std::string Run::Where() const { return absl::StrCat("run ", Quote(name_)); }

// ------------------------------------------------------------------------------------------------------------- Mailbox

void Run::Wake() {
  if (scheduled_ || !HasWork()) return;
  scheduled_ = true;
  executor_->Schedule(shared_from_this());
}

void Run::Post(Job job) {
  absl::MutexLock lock(&mutex_);
  urgent_.push_back(std::move(job));
  Wake();
}

void Run::SetBlocked(bool blocked) {
  absl::MutexLock lock(&mutex_);
  blocked_ = blocked;
}

bool Run::RunOne() {
  Job job;
  Work work;
  bool has_work = false;
  {
    absl::MutexLock lock(&mutex_);
    if (!urgent_.empty()) {
      job = std::move(urgent_.front());
      urgent_.pop_front();
    } else if (HasWork()) {
      work = std::move(work_.front());
      work_.pop_front();
      has_work = true;
    }
  }
  if (job) {
    job();
    job = nullptr;
  } else if (has_work) {
    DoWork(std::move(work));
  }
  absl::MutexLock lock(&mutex_);
  scheduled_ = HasWork();
  return scheduled_;
}

void Run::Attach(std::shared_ptr<TrainSink> sink, uint64_t request_id) {
  Post([self = shared_from_this(), sink = std::move(sink), request_id]() mutable {
    self->DoAttach(std::move(sink), request_id);
  });
}

void Run::Submit(std::shared_ptr<TrainSink> sink, std::unique_ptr<v1::TrainRequest> request) {
  absl::MutexLock lock(&mutex_);
  work_.push_back({std::move(sink), std::move(request)});
  Wake();
}

void Run::Detach(std::shared_ptr<TrainSink> sink, bool now) {
  if (!now) return Submit(std::move(sink), nullptr);
  Post([self = shared_from_this(), sink = std::move(sink)] { self->DoDetach(sink); });
}

void Run::Cancel(RunCallback done) {
  Post([self = shared_from_this(), done = std::move(done)]() mutable { self->DoCancel(std::move(done)); });
}

void Run::CopyWeights(v1::WeightChoice choice, WeightsCallback done) {
  Post([self = shared_from_this(), choice, done = std::move(done)]() mutable {
    int64_t step = 0;
    absl::StatusOr<NamedTensors> weights = self->WeightsOf(choice, &step);
    done(std::move(weights), step);
  });
}

void Run::Publish(std::string description, v1::WeightChoice weights, PublishCallback done) {
  Post([self = shared_from_this(), description = std::move(description), weights, done = std::move(done)]() mutable {
    self->DoPublishFor(std::move(description), weights, std::move(done));
  });
}

void Run::Stop(absl::AnyInvocable<void()> done) {
  Post([self = shared_from_this(), done = std::move(done)]() mutable {
    self->stopping_ = true;
    if (self->sink_ != nullptr) self->EndStream(absl::UnavailableError("the server is shutting down"));
    if (self->session_ == nullptr) return done();
    self->SaveCheckpoint([done = std::move(done)](absl::Status) mutable { done(); });
  });
}

// ----------------------------------------------------------------------------------------------------------------
// State

v1::RunInfo Run::Info() const {
  absl::MutexLock lock(&mutex_);
  return info_;
}

RunRecord Run::Saved() const {
  absl::MutexLock lock(&mutex_);
  return saved_;
}

int Run::state() const {
  absl::MutexLock lock(&mutex_);
  return info_.state();
}

uint64_t Run::state_version() const {
  absl::MutexLock lock(&mutex_);
  return state_version_;
}

void Run::Forget(absl::Status why) {
  {
    absl::MutexLock lock(&mutex_);
    forgotten_ = std::move(why);
  }
  NotifyWatchers();
}

absl::Status Run::forgotten() const {
  absl::MutexLock lock(&mutex_);
  return forgotten_;
}

void Run::Watch(std::weak_ptr<std::function<void()>> wake) {
  absl::MutexLock lock(&mutex_);
  std::erase_if(watchers_, [](const auto& w) { return w.expired(); });
  watchers_.push_back(std::move(wake));
}

void Run::NotifyWatchers() {
  std::vector<std::shared_ptr<std::function<void()>>> wakes;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& weak : watchers_) {
      if (auto wake = weak.lock()) wakes.push_back(std::move(wake));
    }
  }
  for (const auto& wake : wakes) (*wake)();
}

void Run::SetState(int state, const std::string& error, bool journal) {
  record_.state = state;
  record_.error = error;
  record_.updated = context_->clock->Now();
  if (journal) {
    // A state that cannot be written is not lost: the next start of the server finds the run going on and interrupts
    // it.
    if (const absl::Status status = context_->store->UpdateRun(record_); !status.ok()) {
      std::fprintf(stderr, "error: run %s: %s\n", name_.c_str(), status.ToString().c_str());
    }
  }
  {
    absl::MutexLock lock(&mutex_);
    info_.set_state(static_cast<v1::RunState>(state));
    info_.set_error(error);
    *info_.mutable_updated() = ToTimestamp(record_.updated);
    ++state_version_;
  }
  NotifyWatchers();
}

// -----------------------------------------------------------------------------------------------------------
// Attachment

// Whether evaluations change the run.
bool Run::Watches() const {
  return config_.has_early_stopping() || config_.has_keep_best() || config_.optimizer().schedule().has_plateau();
}

absl::Status Run::LoadCheckpoint(TrainSession* session, Metadata* metadata) {
  STRATA_ASSIGN_OR_RETURN(TensorFile file, context_->store->ReadCheckpoint(record_));
  STRATA_RETURN_IF_ERROR(session->Load(file.tensors));
  *metadata = std::move(file.metadata);
  if (!Watches()) return absl::OkStatus();
  int64_t position = 0;
  const auto at = metadata->find("position");
  if (at != metadata->end() && !absl::SimpleAtoi(at->second, &position)) {
    return absl::DataLossError("checkpoint: its position in the history is damaged");
  }
  STRATA_ASSIGN_OR_RETURN(const std::vector<HistoryRow> rows,
                          context_->store->ReadHistory(id_, position, record_.durable_through, /*limit=*/1000));
  for (const HistoryRow& row : rows) {
    if (!row.evaluation || row.step != record_.durable_through) continue;
    v1::EvaluateResult result;
    if (!result.ParseFromString(row.payload)) return absl::DataLossError("store: a row of the history is damaged");
    EvalOutcome outcome{.samples = result.samples(), .loss = result.loss(), .metrics = {}};
    outcome.metrics.insert(result.metrics().begin(), result.metrics().end());
    session->EndEvaluation(result.name(), outcome);
  }
  return absl::OkStatus();
}

absl::Status Run::OpenSession() {
  STRATA_ASSIGN_OR_RETURN(session_, context_->engine->CreateSession(model_->definition, config_, context_->session));
  warnings_ = session_->warnings();
  if (record_.HasCheckpoint()) {
    Metadata metadata;
    STRATA_RETURN_IF_ERROR(LoadCheckpoint(session_.get(), &metadata));
    const std::pair<const char*, std::string> now[] = {{"threads", absl::StrCat(context_->session.threads)},
                                                       {"instruction_set", context_->engine->instruction_set()},
                                                       {"build", context_->build}};
    for (const auto& [key, value] : now) {
      const auto then = metadata.find(key);
      if (then == metadata.end() || then->second == value) continue;
      warnings_.push_back(absl::StrCat(key, ": the checkpoint was made with ", then->second, ", the run goes on with ",
                                       value, ": results may differ in their last bits"));
    }
  }
  // Steps beyond the checkpoint are made again.
  STRATA_RETURN_IF_ERROR(context_->history->Flush());
  STRATA_RETURN_IF_ERROR(context_->store->DropHistoryAfter(id_, record_.durable_through));
  step_ = record_.durable_through;
  const auto last = context_->store->ReadLast(id_, /*evaluation=*/false);
  const auto evaluation = context_->store->ReadLast(id_, /*evaluation=*/true);
  absl::MutexLock lock(&mutex_);
  info_.set_step(static_cast<uint64_t>(step_));
  info_.clear_last();
  info_.clear_last_evaluation();
  if (last.ok()) info_.mutable_last()->ParseFromString(last->payload);
  if (evaluation.ok()) info_.mutable_last_evaluation()->ParseFromString(evaluation->payload);
  return absl::OkStatus();
}

void Run::DoAttach(std::shared_ptr<TrainSink> sink, uint64_t request_id) {
  if (IsTerminal(record_.state)) {
    return sink->Finish(absl::FailedPreconditionError(
        absl::StrCat(Where(), ": has ended: ", v1::RunState_Name(static_cast<v1::RunState>(record_.state)))));
  }
  if (stopping_) return sink->Finish(absl::UnavailableError("the server is shutting down"));
  if (const absl::Status gone = forgotten(); !gone.ok()) return sink->Finish(gone);
  if (finishing_) return sink->Finish(absl::UnavailableError(absl::StrCat(Where(), ": is finishing")));
  const bool attached_before = sink_ != nullptr;
  if (attached_before) {
    sink_->Finish(absl::AbortedError(absl::StrCat(Where(), ": another client attached")));
    sink_ = nullptr;
  }
  evaluating_ = false;
  // Requests are admitted before they get here, but many at a time may have found the last place free.
  if (!attached_before && !context_->enter()) {
    if (session_ == nullptr) SetState(v1::INTERRUPTED, "", /*journal=*/true);
    return sink->Finish(absl::ResourceExhaustedError("runs: as many as may train have a client already"));
  }
  if (session_ == nullptr) {
    if (const absl::Status status = OpenSession(); !status.ok()) {
      DropSession();
      // What is damaged or refused once stays so; what is full may have room later.
      const bool hopeless = absl::IsDataLoss(status) || absl::IsInvalidArgument(status) || absl::IsInternal(status);
      SetState(hopeless ? v1::FAILED : v1::INTERRUPTED, hopeless ? std::string(status.message()) : "",
               /*journal=*/true);
      context_->leave();
      return sink->Finish(status);
    }
  }
  sink_ = std::move(sink);
  last_step_time_ = absl::InfinitePast();
  SetState(v1::RUNNING, "", /*journal=*/true);
  v1::TrainResponse response;
  response.set_request_id(request_id);
  v1::Attached* attached = response.mutable_attached();
  attached->set_run(name_);
  attached->set_epoch(++epoch_);
  attached->set_next_sequence(static_cast<uint64_t>(step_) + 1);
  attached->set_durable_through(static_cast<uint64_t>(record_.durable_through));
  attached->set_window(context_->window);
  for (const std::string& warning : warnings_) attached->add_warnings(warning);
  sink_->Send(std::move(response));
}

void Run::DropSession() {
  session_ = nullptr;
  evaluating_ = false;
}

void Run::DoDetach(const std::shared_ptr<TrainSink>& sink) {
  if (sink == nullptr || sink != sink_) return;
  sink_->Finish(absl::OkStatus());
  Release(/*attached_before=*/true);
}

void Run::Release(bool attached_before) {
  sink_ = nullptr;
  if (attached_before) context_->leave();
  if (finishing_ || IsTerminal(record_.state)) return;
  SaveCheckpoint([self = shared_from_this()](absl::Status) {
    // Somebody may have attached meanwhile.
    if (self->sink_ != nullptr || self->finishing_ || IsTerminal(self->record_.state)) return;
    self->SetState(v1::INTERRUPTED, "", /*journal=*/true);
    self->DropSession();
  });
}

void Run::EndStream(absl::Status status) {
  if (sink_ == nullptr) return;
  sink_->Finish(std::move(status));
  Release(/*attached_before=*/true);
}

void Run::DoCancel(RunCallback done) {
  if (record_.state == v1::CANCELLED) return done(Info());
  if (finishing_) return done(absl::FailedPreconditionError(absl::StrCat(Where(), ": is finishing")));
  if (IsTerminal(record_.state)) {
    return done(absl::FailedPreconditionError(
        absl::StrCat(Where(), ": has ended: ", v1::RunState_Name(static_cast<v1::RunState>(record_.state)))));
  }
  context_->history->Flush().IgnoreError();
  SetState(v1::CANCELLED, "", /*journal=*/true);
  if (sink_ != nullptr) EndStream(absl::AbortedError(absl::StrCat(Where(), ": was cancelled")));
  DropSession();
  done(Info());
}

}  // namespace strata::service
