// The WatchRun stream: pages of the history are read on our threads, whenever the client has taken the page before.

#include <deque>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "service/rpc/release_self.h"
#include "service/rpc/training.h"
#include "service/rpc/unary.h"

namespace strata::service {
namespace {

// As TrainReactor: Start* and Finish are called under the mutex.
class WatchReactor final : public grpc::ServerWriteReactor<v1::RunEvent>,
                           public std::enable_shared_from_this<WatchReactor> {
 public:
  WatchReactor(RunManager* runs, WorkerPool* pool, Metrics* metrics, const v1::WatchRunRequest& request)
      : runs_(runs), pool_(pool), request_(request), record_(metrics, "Training/WatchRun") {}

  void Begin(std::shared_ptr<WatchReactor> self) {
    absl::MutexLock lock(&mutex_);
    self_ = std::move(self);
    fresh_ = true;
    Fetch();
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    events_.pop_front();
    if (over_) return;
    if (!ok) return FinishNow(absl::CancelledError("the client has gone"));
    Advance();
  }
  void OnCancel() override {
    absl::MutexLock lock(&mutex_);
    if (!over_) FinishNow(absl::CancelledError("the client has gone"));
  }
  void OnDone() override { ReleaseSelf(pool_, &mutex_, &self_); }

 private:
  void Wake() {
    absl::MutexLock lock(&mutex_);
    fresh_ = true;
    if (!over_ && !writing_ && events_.empty()) Fetch();
  }

  void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!events_.empty()) {
      writing_ = true;
      StartWrite(&events_.front());
    } else if (last_) {
      FinishNow(status_);
    } else {
      Fetch();
    }
  }

  // Asks for a page unless one is on its way or nothing is new.
  void Fetch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (fetching_ || !fresh_) return;
    fetching_ = true;
    fresh_ = false;
    // What a server owes to a stream that it admitted is never refused.
    pool_->Add([self = shared_from_this()] { self->ReadPage(); });
  }

  void ReadPage() {
    if (watcher_ == nullptr) {
      absl::StatusOr<std::unique_ptr<Watcher>> watcher = runs_->Watch(request_, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->Wake();
      });
      if (!watcher.ok()) return Deliver(watcher.status());
      watcher_ = *std::move(watcher);
    }
    Deliver(watcher_->Next());
  }

  void Deliver(absl::StatusOr<Watcher::Events> page) {
    absl::MutexLock lock(&mutex_);
    fetching_ = false;
    if (over_) return;
    if (!page.ok()) {
      last_ = true;
      status_ = page.status();
    } else {
      if (!page->events.empty()) fresh_ = true;  // there may be more than a page
      for (v1::RunEvent& event : page->events) events_.push_back(std::move(event));
      last_ = page->last;
    }
    Advance();
  }

  void FinishNow(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    over_ = true;
    Finish(record_.Done(status));
  }

  RunManager* const runs_;
  WorkerPool* const pool_;
  const v1::WatchRunRequest request_;
  const CallRecord record_;
  std::unique_ptr<Watcher> watcher_;  // of the one job that reads a page
  absl::Mutex mutex_;
  std::shared_ptr<WatchReactor> self_ ABSL_GUARDED_BY(mutex_);
  std::deque<v1::RunEvent> events_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool fetching_ ABSL_GUARDED_BY(mutex_) = false;
  bool fresh_ ABSL_GUARDED_BY(mutex_) = false;  // something happened since the last page was asked for
  bool last_ ABSL_GUARDED_BY(mutex_) = false;   // nothing follows what is in events_
  bool over_ ABSL_GUARDED_BY(mutex_) = false;   // Finish was called
};

}  // namespace

grpc::ServerWriteReactor<v1::RunEvent>* MakeWatchReactor(RunManager* runs, WorkerPool* pool, Metrics* metrics,
                                                         const v1::WatchRunRequest& request) {
  auto reactor = std::make_shared<WatchReactor>(runs, pool, metrics, request);
  reactor->Begin(reactor);
  return reactor.get();
}

}  // namespace strata::service
