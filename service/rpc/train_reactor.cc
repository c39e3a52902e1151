// The Train stream: requests go to the run's mailbox in order, answers come back in order.

#include <deque>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "engine/base/status.h"
#include "service/rpc/release_self.h"
#include "service/rpc/training.h"
#include "service/rpc/unary.h"
#include "service/rpc/unreadable.h"

namespace strata::service {
namespace {

// Requests beyond the window stay in gRPC's flow control; so do those beyond this many bytes, but for one.
constexpr size_t kMaxWaitingBytes = size_t{128} << 20;

// Lives until the stream is done and the run has let go of it. Start* and Finish are called under the mutex: gRPC's
// reactions come from its own threads, never from within these calls, and this is what makes "no operation after
// Finish" true.
class TrainReactor final : public TrainStreamReactor,
                           public TrainSink,
                           public std::enable_shared_from_this<TrainReactor> {
 public:
  TrainReactor(RunManager* runs, WorkerPool* pool, Metrics* metrics)
      : runs_(runs), pool_(pool), record_(metrics, "Training/Train") {}

  void Begin(std::shared_ptr<TrainReactor> self) {
    absl::MutexLock lock(&mutex_);
    self_ = std::move(self);
    Read();
  }

  // TrainSink.
  void Send(v1::TrainResponse response) override {
    absl::MutexLock lock(&mutex_);
    if (over_ || ending_) return;
    responses_.push_back(std::move(response));
    Write();
  }
  void Finish(absl::Status status) override {
    absl::MutexLock lock(&mutex_);
    if (over_ || ending_) return;
    ending_ = true;
    // A stream that ended with bytes that are no message did not end well.
    status_ = status.ok() ? unreadable_ : std::move(status);
    Write();
  }

  void OnReadDone(bool ok) override {
    std::shared_ptr<Run> run;
    std::unique_ptr<v1::TrainRequest> request;
    bool first = false;
    {
      absl::MutexLock lock(&mutex_);
      if (over_ || ending_) return;
      const size_t bytes = request_.Length();
      if (ok) request = Parse();
      if (request == nullptr) {
        closed_ = true;
        if (ok) unreadable_ = Unreadable();
        if (run_ == nullptr) {
          // Nothing was asked, or the attachment is still being made: then the end waits for it.
          if (!begun_) FinishNow(ok ? unreadable_ : NoFirst());
          return;
        }
        run = run_;
      } else {
        waiting_bytes_.push_back(bytes);
        bytes_ += waiting_bytes_.back();
        first = !begun_;
        begun_ = true;
        run = run_;
      }
    }
    if (request == nullptr) return run->Detach(shared_from_this(), /*now=*/false);
    if (first) {
      First(std::move(request));
    } else {
      run->Submit(shared_from_this(), std::move(request));
    }
    // Not before: gRPC answers reads on several threads, and the next request must not overtake this one.
    absl::MutexLock lock(&mutex_);
    reading_ = false;
    Read();
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    responses_.pop_front();
    // Counted when the client takes the answer: one that does not read cannot make answers pile up.
    bytes_ -= waiting_bytes_.front();
    waiting_bytes_.pop_front();
    // The stream is broken: what waits cannot be delivered.
    if (!ok) responses_.clear();
    if (over_) return;
    Write();
    Read();
  }

  void OnCancel() override {
    std::shared_ptr<Run> run;
    {
      absl::MutexLock lock(&mutex_);
      run = run_;
      cancelled_ = true;
      if (!over_) FinishNow(absl::CancelledError("the client has gone"));
    }
    if (run != nullptr) run->Detach(shared_from_this(), /*now=*/true);
  }

  void OnDone() override {
    {
      absl::MutexLock lock(&mutex_);
      run_ = nullptr;
    }
    ReleaseSelf(pool_, &mutex_, &self_);
  }

 private:
  static absl::Status NoFirst() {
    return InvalidArgument("kind: must be start or attach in the first message, got another");
  }

  // The message that was read; null if the bytes are none.
  std::unique_ptr<v1::TrainRequest> Parse() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    auto request = std::make_unique<v1::TrainRequest>();
    const grpc::Status parsed = grpc::SerializationTraits<v1::TrainRequest>::Deserialize(&request_, request.get());
    request_.Clear();
    return parsed.ok() ? std::move(request) : nullptr;
  }

  void First(std::unique_ptr<v1::TrainRequest> request) {
    std::shared_ptr<const v1::TrainRequest> shared = std::move(request);
    const bool added = pool_->TryAdd([self = shared_from_this(), shared] { self->Open(*shared); });
    if (!added) Finish(absl::ResourceExhaustedError("the server has too much to do"));
  }

  void Open(const v1::TrainRequest& request) {
    absl::StatusOr<std::shared_ptr<Run>> run = NoFirst();
    if (request.has_start()) run = runs_->Start(request.start(), shared_from_this(), request.request_id());
    if (request.has_attach()) run = runs_->Attach(request.attach(), shared_from_this(), request.request_id());
    if (!run.ok()) return Finish(run.status());
    bool cancelled, closed;
    {
      absl::MutexLock lock(&mutex_);
      run_ = *run;
      cancelled = cancelled_;
      closed = closed_;
      if (!closed && !over_ && !ending_) Read();
    }
    if (cancelled || closed) (*run)->Detach(shared_from_this(), /*now=*/cancelled);
  }

  void Read() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (reading_ || closed_ || over_ || ending_ || (begun_ && run_ == nullptr)) return;
    // One more than the window, so that the next request is here when an answer leaves.
    if (waiting_bytes_.size() > static_cast<size_t>(runs_->window())) return;
    if (bytes_ > kMaxWaitingBytes && !waiting_bytes_.empty()) return;
    reading_ = true;
    request_.Clear();
    StartRead(&request_);
  }
  void Write() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_) return;
    if (!responses_.empty()) {
      writing_ = true;
      response_.Clear();
      bool own_buffer;
      const grpc::Status written =
          grpc::SerializationTraits<v1::TrainResponse>::Serialize(responses_.front(), &response_, &own_buffer);
      STRATA_CHECK(written.ok());
      StartWrite(&response_);
    } else if (ending_) {
      FinishNow(status_);
    }
  }
  void FinishNow(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    over_ = true;
    TrainStreamReactor::Finish(record_.Done(status));
  }

  RunManager* const runs_;
  WorkerPool* const pool_;
  const CallRecord record_;
  absl::Mutex mutex_;
  std::shared_ptr<TrainReactor> self_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<Run> run_ ABSL_GUARDED_BY(mutex_);
  grpc::ByteBuffer request_;   // of the read that is going on
  grpc::ByteBuffer response_;  // of the write that is going on
  std::deque<v1::TrainResponse> responses_ ABSL_GUARDED_BY(mutex_);
  std::deque<size_t> waiting_bytes_ ABSL_GUARDED_BY(mutex_);  // of requests whose answers were not taken
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  absl::Status unreadable_ ABSL_GUARDED_BY(mutex_);  // the client sent bytes that are no message
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;       // the first request came
  // A read is going on, or what it brought is not handed on yet.
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;  // the client sends no more
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;  // Finish after the responses
  bool over_ ABSL_GUARDED_BY(mutex_) = false;    // Finish was called
};

}  // namespace

TrainStreamReactor* MakeTrainReactor(RunManager* runs, WorkerPool* pool, Metrics* metrics) {
  auto reactor = std::make_shared<TrainReactor>(runs, pool, metrics);
  reactor->Begin(reactor);
  return reactor.get();
}

}  // namespace strata::service
