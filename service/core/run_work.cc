// What the client of a run asks for: batches, evaluations and commands.

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/status.h"
#include "service/core/names.h"
#include "service/core/run.h"
#include "service/core/wire.h"

namespace strata::service {
namespace {

std::map<std::string, double> ToMap(const google::protobuf::Map<std::string, double>& map) {
  return {map.begin(), map.end()};
}

// The engine calls a batch's tensors by the name of their list; here they stand in a field of the request.
absl::Status InField(absl::string_view field, const absl::Status& status) {
  if (!absl::StartsWith(status.message(), "tensors")) return status;
  return absl::Status(status.code(), absl::StrCat(field, ".", status.message()));
}

void FillEpoch(const EpochOutcome& outcome, v1::EpochResult* result) {
  result->set_epoch(static_cast<uint64_t>(outcome.epoch));
  result->set_loss(outcome.loss);
  for (const auto& [name, value] : outcome.metrics) (*result->mutable_metrics())[name] = value;
  result->set_samples(outcome.samples);
  result->set_ended(outcome.ended);
}

}  // namespace

void Run::DoWork(Work work) {
  if (work.sink != sink_) return;  // of an attachment that has ended
  if (work.request == nullptr) return DoDetach(work.sink);
  const v1::TrainRequest& request = *work.request;
  v1::TrainResponse response;
  response.set_request_id(request.request_id());
  absl::Status status;
  switch (request.kind_case()) {
    case v1::TrainRequest::kBatch:
      status = DoBatch(request.batch(), &response);
      break;
    case v1::TrainRequest::kEvaluate:
      status = DoEvaluate(request.evaluate(), &response);
      break;
    case v1::TrainRequest::kCheckpoint:
      return DoCheckpoint(request.request_id());
    case v1::TrainRequest::kPublish:
      return DoPublish(request.publish(), request.request_id());
    case v1::TrainRequest::kFinish:
      return DoFinish(request.request_id());
    case v1::TrainRequest::kStart:
    case v1::TrainRequest::kAttach:
      status = InvalidArgument("kind: must be start or attach only once, first in a stream, got it again");
      break;
    case v1::TrainRequest::KIND_NOT_SET:
      status = InvalidArgument("kind: must be given, got nothing");
      break;
  }
  if (status.ok()) return sink_->Send(std::move(response));
  EndStream(std::move(status));
}

absl::Status Run::AnswerAgain(uint64_t sequence, v1::StepResult* result) {
  STRATA_RETURN_IF_ERROR(context_->history->Flush());
  STRATA_ASSIGN_OR_RETURN(const HistoryRow row, context_->store->ReadStep(id_, static_cast<int64_t>(sequence)));
  if (!result->ParseFromString(row.payload)) return absl::DataLossError("store: a row of the history is damaged");
  result->set_applied_through(static_cast<uint64_t>(step_));
  result->set_durable_through(static_cast<uint64_t>(record_.durable_through));
  return absl::OkStatus();
}

absl::Status Run::DoBatch(const v1::Batch& batch, v1::TrainResponse* response) {
  if (batch.sequence() == 0) return InvalidArgument("batch.sequence: must be >= 1, got 0");
  const uint64_t next = static_cast<uint64_t>(step_) + 1;
  if (batch.sequence() < next) return AnswerAgain(batch.sequence(), response->mutable_step());
  if (session_->stopped()) {
    v1::StepResult* result = response->mutable_step();
    result->set_stopped(true);
    result->set_step(static_cast<uint64_t>(step_));
    result->set_applied_through(static_cast<uint64_t>(step_));
    result->set_durable_through(static_cast<uint64_t>(record_.durable_through));
    return absl::OkStatus();
  }
  if (batch.sequence() > next) {
    return absl::OutOfRangeError(absl::StrCat("batch.sequence: must be ", next, ", got ", batch.sequence()));
  }
  STRATA_RETURN_IF_ERROR(context_->history->Ready());
  STRATA_ASSIGN_OR_RETURN(const BatchViews parsed, ViewsOf("batch.tensors", batch.tensors()));
  evaluating_ = false;
  const absl::Time began = absl::Now();
  const absl::StatusOr<StepOutcome> outcome =
      session_->Step(parsed.views, {.end_of_epoch = batch.end_of_epoch(), .reset_states = batch.reset_states()});
  if (!outcome.ok()) {
    // The engine refuses a batch (nothing has changed, the number is not used up) or the run cannot go on: a step that
    // is not finite under FAIL_RUN, or a bug.
    if (absl::IsFailedPrecondition(outcome.status()) || absl::IsInternal(outcome.status())) {
      context_->history->Flush().IgnoreError();
      SetState(v1::FAILED, std::string(outcome.status().message()), /*journal=*/true);
      DropSession();
    }
    return InField("batch", outcome.status());
  }
  RecordStep(*outcome, absl::Now() - began, response->mutable_step());
  if (step_ - record_.durable_through >= checkpoint_every_ && !checkpoint_in_flight_) {
    SaveCheckpoint([](absl::Status) {});
  }
  return absl::OkStatus();
}

void Run::RecordStep(const StepOutcome& outcome, absl::Duration took, v1::StepResult* result) {
  ++step_;
  const absl::Time now = absl::Now();
  const absl::Duration between = last_step_time_ == absl::InfinitePast() ? took : now - last_step_time_;
  last_step_time_ = now;
  result->set_step(static_cast<uint64_t>(step_));
  result->set_loss(outcome.loss);
  result->set_penalty(outcome.penalty);
  for (const auto& [name, value] : outcome.metrics) (*result->mutable_metrics())[name] = value;
  result->set_gradient_norm(outcome.gradient_norm);
  result->set_learning_rate(outcome.learning_rate);
  result->set_samples_per_second(static_cast<double>(outcome.samples) / std::max(1e-9, absl::ToDoubleSeconds(between)));
  result->set_skipped(outcome.skipped);
  result->set_accumulated(outcome.accumulated);
  result->set_stopped(outcome.verdict.stop);
  result->set_step_seconds(absl::ToDoubleSeconds(took));
  // The history needs an epoch's numbers once.
  if (outcome.epoch.ended) FillEpoch(outcome.epoch, result->mutable_epoch());
  context_->history->Add({id_, ++position_, step_, /*evaluation=*/false, result->SerializeAsString()});
  if (!outcome.epoch.ended) FillEpoch(outcome.epoch, result->mutable_epoch());
  result->set_applied_through(static_cast<uint64_t>(step_));
  result->set_durable_through(static_cast<uint64_t>(record_.durable_through));
  {
    absl::MutexLock lock(&mutex_);
    info_.set_step(static_cast<uint64_t>(step_));
    *info_.mutable_last() = *result;
    *info_.mutable_updated() = ToTimestamp(context_->clock->Now());
  }
  context_->metrics->StepDone(model_name_, name_,
                              {.loss = outcome.loss,
                               .learning_rate = outcome.learning_rate,
                               .gradient_norm = outcome.gradient_norm,
                               .samples_per_second = result->samples_per_second(),
                               .step = step_,
                               .samples = outcome.samples,
                               .seconds = absl::ToDoubleSeconds(took),
                               .skipped = outcome.skipped,
                               .metrics = outcome.metrics},
                              context_->clock->Now());
}

absl::Status Run::DoEvaluate(const v1::Evaluate& evaluate, v1::TrainResponse* response) {
  const std::string name = evaluate.name().empty() ? "validation" : evaluate.name();
  STRATA_RETURN_IF_ERROR(CheckText("evaluate.name", name, 64));
  STRATA_ASSIGN_OR_RETURN(const BatchViews parsed, ViewsOf("evaluate.tensors", evaluate.tensors()));
  const bool first = !evaluating_ || name != evaluation_name_;
  evaluating_ = false;
  const absl::StatusOr<EvalOutcome> evaluated = session_->Evaluate(parsed.views, first);
  if (!evaluated.ok()) return InField("evaluate", evaluated.status());
  const EvalOutcome& outcome = *evaluated;
  evaluating_ = !evaluate.last();
  evaluation_name_ = name;
  last_step_time_ = absl::InfinitePast();  // the next step's rate does not count the evaluation
  v1::EvaluateResult* result = response->mutable_evaluate();
  result->set_loss(outcome.loss);
  for (const auto& [metric, value] : outcome.metrics) (*result->mutable_metrics())[metric] = value;
  result->set_samples(outcome.samples);
  result->set_name(name);
  result->set_step(static_cast<uint64_t>(step_));
  result->set_learning_rate(session_->learning_rate());
  if (!evaluate.last()) return absl::OkStatus();
  const Verdict verdict = session_->EndEvaluation(name, outcome);
  result->set_best(verdict.best);
  result->set_stop(verdict.stop);
  result->set_learning_rate(session_->learning_rate());
  context_->history->Add({id_, ++position_, step_, /*evaluation=*/true, result->SerializeAsString()});
  // What was observed is known after a crash, too: a client does not evaluate again what was answered.
  if (Watches()) STRATA_RETURN_IF_ERROR(context_->history->Flush());
  context_->metrics->EvaluationDone(model_name_, name_, outcome.loss, ToMap(result->metrics()));
  absl::MutexLock lock(&mutex_);
  *info_.mutable_last_evaluation() = *result;
  return absl::OkStatus();
}

void Run::DoCheckpoint(uint64_t request_id) {
  SetBlocked(true);
  SetState(v1::CHECKPOINTING, "", /*journal=*/false);
  SaveCheckpoint([self = shared_from_this(), sink = sink_, request_id](absl::Status status) {
    self->SetBlocked(false);
    if (sink != self->sink_) return;
    self->SetState(v1::RUNNING, "", /*journal=*/false);
    if (!status.ok()) return self->EndStream(std::move(status));
    v1::TrainResponse response;
    response.set_request_id(request_id);
    response.mutable_checkpoint()->set_durable_through(static_cast<uint64_t>(self->record_.durable_through));
    sink->Send(std::move(response));
  });
}

void Run::DoPublish(const v1::Publish& publish, uint64_t request_id) {
  int64_t step = 0;
  absl::StatusOr<NamedTensors> weights = WeightsOf(publish.weights(), &step);
  if (!weights.ok()) return EndStream(weights.status());
  SetBlocked(true);
  WriteVersion(*std::move(weights), step, publish.description(),
               [self = shared_from_this(), sink = sink_, request_id](absl::StatusOr<v1::VersionInfo> info) {
                 self->Post([self, sink, request_id, info = std::move(info)]() mutable {
                   self->SetBlocked(false);
                   if (sink != self->sink_) return;
                   if (!info.ok()) return self->EndStream(info.status());
                   v1::TrainResponse response;
                   response.set_request_id(request_id);
                   *response.mutable_published() = *std::move(info);
                   sink->Send(std::move(response));
                 });
               });
}

void Run::DoFinish(uint64_t request_id) {
  SetBlocked(true);
  finishing_ = true;
  SetState(v1::CHECKPOINTING, "", /*journal=*/false);
  SaveCheckpoint([self = shared_from_this(), sink = sink_, request_id](absl::Status status) {
    self->finishing_ = false;
    self->SetBlocked(false);
    if (!status.ok()) {
      self->SetState(v1::RUNNING, "", /*journal=*/false);
      return self->sink_ != nullptr ? self->EndStream(std::move(status)) : self->Release(/*attached_before=*/false);
    }
    self->context_->history->Flush().IgnoreError();
    self->SetState(v1::SUCCEEDED, "", /*journal=*/true);
    self->DropSession();
    v1::TrainResponse response;
    response.set_request_id(request_id);
    *response.mutable_finished() = self->Info();
    sink->Send(std::move(response));
    sink->Finish(absl::OkStatus());
    if (self->sink_ == sink) self->Release(/*attached_before=*/true);
  });
}

}  // namespace strata::service
