// Checkpoints and versions of a run: copied on the executor's thread, written on another.

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/status.h"
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
  context_->files->Add([self = shared_from_this(), tensors, record, step = step_]() mutable {
    const RunContext& context = *self->context_;
    const absl::Time began = absl::Now();
    // A checkpoint never knows more than the history: rows up to its step are durable first.
    absl::Status status = context.history->Flush();
    if (status.ok()) {
      status = context.store->SaveCheckpoint(&record, step, *tensors,
                                             {{"model", self->model_name_},
                                              {"run", self->name_},
                                              {"step", absl::StrCat(step)},
                                              {"threads", absl::StrCat(context.session.threads)},
                                              {"build", context.build}});
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
    info_.set_durable_through(static_cast<uint64_t>(saved.durable_through));
  }
  std::vector<absl::AnyInvocable<void(absl::Status)>> waiters, next;
  waiters.swap(in_flight_waiters_);
  next.swap(next_waiters_);
  for (auto& done : waiters) done(status);
  for (auto& done : next) SaveCheckpoint(std::move(done));
}

void Run::WriteVersion(NamedTensors weights, int64_t step, std::string description, PublishCallback done) {
  auto shared = std::make_shared<const NamedTensors>(std::move(weights));
  context_->files->Add([self = shared_from_this(), shared, step, description = std::move(description),
                        done = std::move(done)]() mutable {
    done(self->context_->registry->Publish(self->model_name_, self->name_, step, description, *shared));
  });
}

absl::StatusOr<NamedTensors> Run::PresentWeights(int64_t* step) {
  if (session_ != nullptr) {
    *step = step_;
    return session_->Weights();
  }
  if (record_.durable_through == 0) {
    return absl::FailedPreconditionError(absl::StrCat(Where(), ": has no checkpoint to publish"));
  }
  *step = record_.durable_through;
  STRATA_ASSIGN_OR_RETURN(const TensorFile file, context_->store->ReadCheckpoint(record_));
  STRATA_ASSIGN_OR_RETURN(const std::unique_ptr<TrainSession> session,
                          context_->engine->CreateSession(model_->definition, config_, context_->session));
  STRATA_RETURN_IF_ERROR(session->Load(file.tensors));
  return session->Weights();
}

void Run::DoPublishFor(std::string description, PublishCallback done) {
  int64_t step = 0;
  absl::StatusOr<NamedTensors> weights = PresentWeights(&step);
  if (!weights.ok()) return done(weights.status());
  WriteVersion(*std::move(weights), step, std::move(description), std::move(done));
}

}  // namespace strata::service
