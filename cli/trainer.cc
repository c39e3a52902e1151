#include "cli/trainer.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "engine/base/status.h"

namespace strata::cli {
namespace {

using Stream = grpc::ClientReaderWriter<v1::TrainRequest, v1::TrainResponse>;

// What was sent and not yet answered, and the permission to send more. Thread-safe.
class Unanswered {
 public:
  explicit Unanswered(int window) : window_(std::max(1, window)) {}

  // Waits for room; false when the stream is over.
  bool Push(const Item& item) {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &Unanswered::MayPush));
    if (closed_) return false;
    items_.push_back(item);
    return true;
  }
  // The item that an answer belongs to: answers come in order.
  absl::StatusOr<Item> Pop() {
    absl::MutexLock lock(&mutex_);
    if (items_.empty()) return absl::InternalError("the server answered what was not asked");
    const Item item = items_.front();
    items_.pop_front();
    return item;
  }
  void Close() {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }

 private:
  bool MayPush() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return closed_ || static_cast<int>(items_.size()) < window_;
  }

  const int window_;
  absl::Mutex mutex_;
  std::deque<Item> items_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

// What is known of a run across attachments.
struct Progress {
  bool started = false;    // the run exists: attach
  bool ambiguous = false;  // a start was sent and not answered
  bool attached = false;   // at least once
  bool moved = false;      // something was answered in this attachment
  int64_t evaluated_epochs = 0;
  bool published = false;
  bool finished = false;
  std::atomic<bool> stopped{false};  // early stopping: no more batches
};

// `stopped` is set by the thread that reads answers.
void Send(Stream& stream, Schedule schedule, const TrainerOptions& options, BatchSource& source,
          const std::atomic<bool>& stopped, Unanswered& unanswered) {
  // One message of each kind, so that every batch reuses the memory of the one before it.
  v1::TrainRequest batch, evaluate, command;
  for (;;) {
    if (stopped) schedule.Stop();
    const Item item = schedule.Next();
    v1::TrainRequest* request = &command;
    // Made before there is room for it, so that it leaves as soon as there is.
    switch (item.kind) {
      case Item::Kind::kBatch:
        request = &batch;
        source.FillBatch(item, batch.mutable_batch());
        break;
      case Item::Kind::kEvaluate:
        request = &evaluate;
        source.FillEvaluate(item, evaluate.mutable_evaluate());
        break;
      case Item::Kind::kPublish:
        command.mutable_publish()->set_description(options.publish_description);
        command.mutable_publish()->set_weights(options.publish_weights);
        break;
      case Item::Kind::kFinish:
        command.mutable_finish();
        break;
    }
    if (!unanswered.Push(item) || !stream.Write(*request)) return;
    if (item.kind == Item::Kind::kFinish) return;
  }
}

absl::Status Handle(const v1::TrainResponse& response, const Item& item, Progress& progress, TrainListener& listener) {
  progress.moved = true;
  switch (response.kind_case()) {
    case v1::TrainResponse::kStep:
      // What was sent before the training ended early was not applied.
      if (response.step().stopped()) progress.stopped = true;
      if (response.step().stopped() && response.step().applied_through() < item.sequence) return absl::OkStatus();
      if (item.kind != Item::Kind::kBatch || response.step().step() != item.sequence) break;
      listener.OnStep(item, response.step());
      return absl::OkStatus();
    case v1::TrainResponse::kEvaluate:
      if (item.kind != Item::Kind::kEvaluate) break;
      if (response.evaluate().stop()) progress.stopped = true;
      if (item.last) progress.evaluated_epochs = std::max(progress.evaluated_epochs, item.epoch);
      listener.OnEvaluate(item, response.evaluate());
      return absl::OkStatus();
    case v1::TrainResponse::kPublished:
      if (item.kind != Item::Kind::kPublish) break;
      progress.published = true;
      listener.OnPublished(response.published());
      return absl::OkStatus();
    case v1::TrainResponse::kFinished:
      if (item.kind != Item::Kind::kFinish) break;
      progress.finished = true;
      listener.OnFinished(response.finished());
      return absl::OkStatus();
    default:
      break;
  }
  return absl::InternalError(absl::StrCat("the server's answer is out of order: ", response.ShortDebugString()));
}

// Starts or attaches, then trains until the run is finished or the stream breaks.
absl::Status RunOnce(Client& client, const TrainerOptions& options, BatchSource& source, TrainListener& listener,
                     Progress& progress) {
  grpc::ClientContext context;
  const std::unique_ptr<Stream> stream = client.training().Train(&context);
  progress.moved = false;

  v1::TrainRequest first;
  if (progress.started) {
    first.mutable_attach()->set_run(options.start.run());
  } else {
    *first.mutable_start() = options.start;
    progress.ambiguous = true;
  }
  v1::TrainResponse response;
  if (!stream->Write(first) || !stream->Read(&response)) return FromGrpc(stream->Finish());
  if (!response.has_attached()) {
    context.TryCancel();
    return absl::InternalError("the server's first answer is no attachment");
  }
  listener.OnAttached(response.attached(), progress.attached);
  progress.started = progress.attached = true;

  Schedule schedule(options.schedule);
  schedule.Seek(response.attached().next_sequence(), progress.evaluated_epochs, progress.published);
  Unanswered unanswered(response.attached().window());
  std::thread sender([&] { Send(*stream, schedule, options, source, progress.stopped, unanswered); });

  absl::Status broken;
  while (!progress.finished && stream->Read(&response)) {
    const absl::StatusOr<Item> item = unanswered.Pop();
    broken = item.ok() ? Handle(response, *item, progress, listener) : item.status();
    if (!broken.ok()) break;
  }
  unanswered.Close();
  if (!broken.ok()) context.TryCancel();
  sender.join();
  if (progress.finished) {
    stream->WritesDone();
    while (stream->Read(&response)) {
    }
  }
  const absl::Status status = FromGrpc(stream->Finish());
  if (progress.finished) return absl::OkStatus();
  if (!broken.ok()) return broken;
  return status.ok() ? absl::UnavailableError("the server ended the stream") : status;
}

// The connection or the server is gone; attaching again may help. A server that shuts down cancels calls that it just
// got.
bool IsLost(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsCancelled(status) ||
         (absl::IsInternal(status) && absl::StrContains(status.message(), "RST_STREAM"));
}

absl::StatusOr<v1::RunInfo> GetRun(Client& client, const std::string& run) {
  v1::GetRunRequest request;
  request.set_run(run);
  return client.Call(client.training(), &v1::Training::Stub::GetRun, request);
}

}  // namespace

absl::Duration Backoff::Next() {
  const absl::Duration wait = next_;
  next_ = std::min(kMost, next_ * 1.5);
  return wait;
}

absl::Status Train(Client& client, const TrainerOptions& options, BatchSource& source, TrainListener& listener) {
  Progress progress;
  progress.started = options.resume;
  if (options.resume) {
    // Which evaluations a run has is asked, not guessed.
    const auto run = GetRun(client, options.start.run());
    if (run.ok() && run->has_last_evaluation()) {
      progress.evaluated_epochs =
          static_cast<int64_t>(run->last_evaluation().step()) / options.schedule.batches_per_epoch;
    }
  }
  Backoff backoff;
  absl::Time deadline = absl::Now() + options.give_up_after;
  for (;;) {
    const bool was_ambiguous = progress.ambiguous;
    const absl::Status status = RunOnce(client, options, source, listener, progress);
    if (progress.finished) return absl::OkStatus();
    if (progress.moved) {
      backoff.Reset();
      deadline = absl::Now() + options.give_up_after;
    }
    if (absl::IsAlreadyExists(status) && was_ambiguous && !progress.started) {
      progress.started = true;  // the start that was not answered had arrived
      continue;
    }
    if (absl::IsNotFound(status) && progress.started && !progress.attached) {
      progress.started = false;  // nothing to resume
      continue;
    }
    if (absl::IsFailedPrecondition(status) && progress.attached) {
      // The end of the run had arrived, its answer had not.
      const auto run = GetRun(client, options.start.run());
      if (run.ok() && run->state() == v1::SUCCEEDED) {
        listener.OnFinished(*run);
        return absl::OkStatus();
      }
    }
    if (!IsLost(status)) return status;
    if (!progress.attached && !was_ambiguous) return status;  // no server answered the first call
    const absl::Duration wait = backoff.Next();
    if (absl::Now() + wait > deadline) return status;
    listener.OnLost(status, wait);
    absl::SleepFor(wait);
  }
}

}  // namespace strata::cli
