// One training: an actor whose mailbox one executor thread empties. Whatever changes the run happens there, one thing
// at a time, so that batches, checkpoints, attachments and the end of the run have one order.
//
//   QUEUED -> RUNNING <-> CHECKPOINTING -> SUCCEEDED | FAILED | CANCELLED
//                ^  \-> INTERRUPTED (nobody is attached)
//                \------------/
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "service/core/clock.h"
#include "service/core/engine.h"
#include "service/core/executor.h"
#include "service/core/registry.h"
#include "service/core/worker_pool.h"
#include "service/obs/metrics.h"
#include "service/store/history_writer.h"
#include "service/store/store.h"
#include "strata/v1/services.pb.h"

namespace strata::service {

// The client's end of an attachment. Thread-safe; functions do not block, and do nothing once the stream has ended.
class TrainSink {
 public:
  virtual ~TrainSink() = default;
  virtual void Send(v1::TrainResponse response) = 0;
  // After what was sent before.
  virtual void Finish(absl::Status status) = 0;
};

// What all runs share. Outlives them.
struct RunContext {
  Store* store = nullptr;
  HistoryWriter* history = nullptr;
  ModelRegistry* registry = nullptr;
  const Engine* engine = nullptr;
  const Clock* clock = nullptr;
  Metrics* metrics = nullptr;
  WorkerPool* files = nullptr;  // writes checkpoints and versions
  SessionOptions session;
  int window = 8;
  std::string build;  // kept with checkpoints: bits are equal within one build only
  // A run takes a place among those that have a client before it attaches to one, and gives it back when it has none.
  // False: there is no place.
  std::function<bool()> enter = [] { return true; };
  std::function<void()> leave = [] {};
};

using RunCallback = absl::AnyInvocable<void(absl::StatusOr<v1::RunInfo>)>;
using WeightsCallback = absl::AnyInvocable<void(absl::StatusOr<NamedTensors> weights, int64_t step)>;
using PublishCallback = absl::AnyInvocable<void(absl::StatusOr<v1::VersionInfo>)>;

bool IsTerminal(int state);

// Thread-safe; no function blocks but the constructor.
class Run final : public Actor, public std::enable_shared_from_this<Run> {
 public:
  // `record` is in the store already. Reads the last results from there.
  Run(const RunContext* context, Executor* executor, std::string model_name, std::shared_ptr<const ModelEntry> model,
      RunRecord record, v1::TrainingConfig config);

  const std::string& name() const { return name_; }
  const std::string& model_name() const { return model_name_; }
  int64_t id() const { return id_; }

  // Makes `sink` the run's client; an older one is ABORTED. The answer is Attached, or the end of the stream.
  void Attach(std::shared_ptr<TrainSink> sink, uint64_t request_id);
  // A request of `sink`, in order. Ignored if the sink is attached no more.
  void Submit(std::shared_ptr<TrainSink> sink, std::unique_ptr<v1::TrainRequest> request);
  // The client sends no more: the run is interrupted after what it sent (`now` false) or at once.
  void Detach(std::shared_ptr<TrainSink> sink, bool now);

  void Cancel(RunCallback done);
  void Publish(std::string description, v1::WeightChoice weights, PublishCallback done);
  // A copy of the weights that Publish would take, and their step.
  void CopyWeights(v1::WeightChoice choice, WeightsCallback done);
  // The server stops: checkpoint, INTERRUPTED. `done` comes when it is durable.
  void Stop(absl::AnyInvocable<void()> done);

  v1::RunInfo Info() const;
  // With the last checkpoint that is durable.
  RunRecord Saved() const;
  int state() const;
  // The run is deleted, or the server stops: watchers end with `why`, and nobody attaches any more.
  void Forget(absl::Status why);
  // OK unless the run is forgotten.
  absl::Status forgotten() const;

  // Changes with every state; for watchers.
  uint64_t state_version() const;
  // `wake` is called whenever there may be something new, on any thread; it must not block. It is forgotten when it
  // expires.
  void Watch(std::weak_ptr<std::function<void()>> wake);
  void NotifyWatchers();

  bool RunOne() override;

 private:
  using Job = absl::AnyInvocable<void()>;
  struct Work {
    std::shared_ptr<TrainSink> sink;
    std::unique_ptr<v1::TrainRequest> request;  // null: the client's stream ended
  };

  void Post(Job job);
  bool HasWork() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return !urgent_.empty() || (!blocked_ && !work_.empty()); }
  void Wake() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // The rest runs on the executor's thread, but for Info.
  void DoAttach(std::shared_ptr<TrainSink> sink, uint64_t request_id);
  absl::Status OpenSession();
  void DoWork(Work work);
  absl::Status DoBatch(const v1::Batch& batch, v1::TrainResponse* response);
  absl::Status AnswerAgain(uint64_t sequence, v1::StepResult* result);
  void RecordStep(const StepOutcome& outcome, absl::Duration took, v1::StepResult* result);
  absl::Status DoEvaluate(const v1::Evaluate& evaluate, v1::TrainResponse* response);
  void DoCheckpoint(uint64_t request_id);
  void DoPublish(const v1::Publish& publish, uint64_t request_id);
  void DoFinish(uint64_t request_id);
  void DoDetach(const std::shared_ptr<TrainSink>& sink);
  void DoCancel(RunCallback done);
  void DoPublishFor(std::string description, v1::WeightChoice weights, PublishCallback done);
  // The weights that are to be published, and the step that they are of.
  absl::StatusOr<NamedTensors> WeightsOf(v1::WeightChoice choice, int64_t* step);
  // Loads the run's checkpoint, and shows the session the evaluations of its step that came after it.
  absl::Status LoadCheckpoint(TrainSession* session, Metadata* metadata);
  bool Watches() const;
  void WriteVersion(NamedTensors weights, int64_t step, std::string description, PublishCallback done);

  // Ends the attachment with an error; the run goes on to INTERRUPTED, or FAILED if it cannot go on.
  void EndStream(absl::Status status);
  void Release(bool attached_before);
  // Copies the session and makes it durable in another thread; `done` is called here.
  void SaveCheckpoint(absl::AnyInvocable<void(absl::Status)> done);
  void CheckpointDone(RunRecord saved, absl::Status status);
  void SetState(int state, const std::string& error, bool journal);
  void SetBlocked(bool blocked);
  void DropSession();
  std::string Where() const;

  const RunContext* const context_;
  Executor* const executor_;
  const std::string name_, model_name_;
  const int64_t id_;
  const std::shared_ptr<const ModelEntry> model_;
  const v1::TrainingConfig config_;
  const int64_t checkpoint_every_;

  mutable absl::Mutex mutex_;
  std::deque<Job> urgent_ ABSL_GUARDED_BY(mutex_);
  std::deque<Work> work_ ABSL_GUARDED_BY(mutex_);
  // A command waits for the disk: later requests wait for it.
  bool blocked_ ABSL_GUARDED_BY(mutex_) = false;
  bool scheduled_ ABSL_GUARDED_BY(mutex_) = false;
  v1::RunInfo info_ ABSL_GUARDED_BY(mutex_);
  RunRecord saved_ ABSL_GUARDED_BY(mutex_);
  uint64_t state_version_ ABSL_GUARDED_BY(mutex_) = 1;
  absl::Status forgotten_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::weak_ptr<std::function<void()>>> watchers_ ABSL_GUARDED_BY(mutex_);

  // Of the executor's thread.
  RunRecord record_;
  std::unique_ptr<TrainSession> session_;
  std::vector<std::string> warnings_;
  std::shared_ptr<TrainSink> sink_;
  uint64_t epoch_;
  int64_t step_ = 0;
  int64_t position_ = 0;
  absl::Time last_step_time_ = absl::InfinitePast();
  bool evaluating_ = false;
  std::string evaluation_name_;
  bool finishing_ = false;
  bool stopping_ = false;
  bool checkpoint_in_flight_ = false;
  std::vector<absl::AnyInvocable<void(absl::Status)>> in_flight_waiters_, next_waiters_;
};

}  // namespace strata::service
