// Checkpoints and versions of a run: copied on the executor's thread, written on another.

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/status.h"
#include "service/core/native_file.h"
#include "service/core/run.h"

namespace strata::service {

void Run::SaveCheckpoint(absl::AnyInvocable<void(absl::Status)> done) {
  if (session_ == nullptr || (step_ == record_.durable_through && !checkpoint_in_flight_)) {
    return done(context_->history->Flush());
  }
  if (checkpoint_in_flight_) {
    // The one that is being written is of an earlier step.
    next_waiters_.push_back(std::move(done));
    return;
  }
  checkpoint_in_flight_ = true;
  in_flight_waiters_.push_back(std::move(done));
  auto tensors = std::make_shared<const NamedTensors>(session_->Save());
  RunRecord record = record_;
  record.updated = context_->clock->Now();
  context_->files->Add([self = shared_from_this(), tensors, record, step = step_, position = position_]() mutable {
    const RunContext& context = *self->context_;
    const absl::Time began = absl::Now();
    // A checkpoint never knows more than the history: rows up to its step are durable first.
    absl::Status status = context.history->Flush();
    if (status.ok()) {
      const Metadata metadata = CheckpointMetadata({.definition = &self->model_->definition,
                                                    .training = &self->config_,
                                                    .model = self->model_name_,
                                                    .run = self->name_,
                                                    .build = context.build,
                                                    .instruction_set = context.engine->instruction_set(),
                                                    .step = step,
                                                    .position = position,
                                                    .threads = context.session.threads},
                                                   *tensors);
      status = context.store->SaveCheckpoint(&record, step, *tensors, metadata);
    }
    context.metrics->CheckpointDone(status.ok(), static_cast<int64_t>(record.checkpoint.bytes), absl::Now() - began,
                                    context.clock->Now());
    if (!status.ok()) {
      std::fprintf(stderr, "error: run %s: checkpoint of step %ld: %s\n", self->name_.c_str(), static_cast<long>(step),
                   status.ToString().c_str());
    }
    self->Post([self, record = std::move(record), status = std::move(status)]() mutable {
      self->CheckpointDone(std::move(record), std::move(status));
    });
  });
}

void Run::CheckpointDone(RunRecord saved, absl::Status status) {
  checkpoint_in_flight_ = false;
  if (status.ok()) {
    record_.durable_through = saved.durable_through;
    record_.checkpoint = saved.checkpoint;
    absl::MutexLock lock(&mutex_);
    saved_ = saved;
    info_.set_durable_through(static_cast<uint64_t>(saved.durable_through));
  }
  std::vector<absl::AnyInvocable<void(absl::Status)>> waiters, next;
  waiters.swap(in_flight_waiters_);
  next.swap(next_waiters_);
  for (auto& done : waiters) done(status);
  for (auto& done : next) SaveCheckpoint(std::move(done));
}

void Run::WriteVersion(NamedTensors weights, int64_t step, std::string description, PublishCallback done) {
  context_->files->Add([self = shared_from_this(), weights = std::move(weights), step,
                        description = std::move(description), done = std::move(done)]() mutable {
    done(self->context_->registry->Publish(self->model_name_, self->name_, step, description, std::move(weights)));
  });
}

absl::StatusOr<NamedTensors> Run::WeightsOf(v1::WeightChoice choice, int64_t* step) {
  WeightSet set = config_.optimizer().has_moving_average() ? WeightSet::kAveraged : WeightSet::kPresent;
  switch (choice) {
    case v1::WEIGHT_CHOICE_UNSPECIFIED:
      break;
    case v1::PRESENT:
      set = WeightSet::kPresent;
      break;
    case v1::AVERAGED:
      set = WeightSet::kAveraged;
      break;
    case v1::BEST:
      set = WeightSet::kBest;
      break;
    default:
      return InvalidArgument("weights: must be a value of WeightChoice, got ", static_cast<int>(choice));
  }
  if (session_ != nullptr) return session_->WeightsOf(set, step);
  if (!record_.HasCheckpoint()) {
    return absl::FailedPreconditionError(absl::StrCat(Where(), ": has no checkpoint to publish"));
  }
  STRATA_ASSIGN_OR_RETURN(const std::unique_ptr<TrainSession> session,
                          context_->engine->CreateSession(model_->definition, config_, context_->session));
  Metadata metadata;
  STRATA_RETURN_IF_ERROR(LoadCheckpoint(session.get(), &metadata));
  return session->WeightsOf(set, step);
}

void Run::DoPublishFor(std::string description, v1::WeightChoice choice, PublishCallback done) {
  int64_t step = 0;
  absl::StatusOr<NamedTensors> weights = WeightsOf(choice, &step);
  if (!weights.ok()) return done(weights.status());
  WriteVersion(*std::move(weights), step, std::move(description), std::move(done));
}

}  // namespace strata::service
