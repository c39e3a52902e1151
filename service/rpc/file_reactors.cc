// Models.Import and Models.Export: files in chunks. Reads and writes are gRPC's; parsing and writing files is the
// pool's.

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "engine/base/status.h"
#include "service/rpc/models.h"
#include "service/rpc/release_self.h"
#include "service/rpc/transfers.h"
#include "service/rpc/unary.h"

namespace strata::service {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;

// Looks after a reactor's client: while the reactor lives, and without keeping it alive.
template <typename Reactor>
void WatchSilence(const std::shared_ptr<Reactor>& reactor, WorkerPool* pool, SilenceAlarm* alarm) {
  alarm->Arm([weak = std::weak_ptr<Reactor>(reactor), pool] {
    std::shared_ptr<Reactor> self = weak.lock();
    if (self == nullptr) return;
    self->LookForSilence();
    // It may be the last reference, and what goes with it may block.
    pool->Add([self = std::move(self)] {});
  });
}

// Takes the file in as it comes, then parses it on the pool. Start* and Finish are called under the mutex.
class ImportReactor final : public grpc::ServerReadReactor<v1::ImportRequest>,
                            public std::enable_shared_from_this<ImportReactor> {
 public:
  ImportReactor(const ModelFiles* files, WorkerPool* pool, Metrics* metrics, Transfers* transfers,
                v1::ImportResponse* response)
      : files_(files),
        pool_(pool),
        transfers_(transfers),
        response_(response),
        record_(metrics, "Models/Import"),
        silence_(transfers->silence()) {}

  void Begin(std::shared_ptr<ImportReactor> self) {
    absl::MutexLock lock(&mutex_);
    self_ = std::move(self);
    auto place = transfers_->Enter();
    if (!place.ok()) return FinishNow(place.status());
    place_ = *std::move(place);
    silence_.Heard();
    WatchSilence(self_, pool_, &silence_);
    StartRead(&request_);
  }
  void LookForSilence() {
    absl::MutexLock lock(&mutex_);
    if (over_ || parsing_) return;
    if (silence_.TooLong()) return FinishNow(silence_.status());
    WatchSilence(self_, pool_, &silence_);
  }

  void OnReadDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    if (over_) return;
    silence_.Heard();
    if (!ok) return Parse();
    if (const absl::Status status = Take(); !status.ok()) return FinishNow(status);
    StartRead(&request_);
  }
  void OnCancel() override {
    absl::MutexLock lock(&mutex_);
    // While the pool parses, its answer ends the call.
    if (!over_ && !parsing_) FinishNow(absl::CancelledError("the client has gone"));
  }
  void OnDone() override { ReleaseSelf(pool_, &mutex_, &self_); }

 private:
  absl::Status Take() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (request_.has_start() == begun_) {
      return InvalidArgument(begun_ ? "kind: must be start in the first message only, got it again"
                                    : "kind: must be start in the first message, got another");
    }
    if (!begun_) {
      begun_ = true;
      start_ = request_.start();
      STRATA_ASSIGN_OR_RETURN(IncomingFile file, files_->Begin(start_));
      file_.emplace(std::move(file));
      return absl::OkStatus();
    }
    if (ended_) return InvalidArgument("kind: must be nothing after the digest, got another message");
    if (request_.has_digest()) {
      ended_ = true;
      if (start_.digest().empty()) {
        start_.set_digest(request_.digest());
      } else if (start_.digest() != request_.digest()) {
        return InvalidArgument("digest: must be the one that start has, ", start_.digest().substr(0, 64),
                               ", got another");
      }
      return absl::OkStatus();
    }
    if (!request_.has_chunk()) return InvalidArgument("kind: must be a chunk, got nothing");
    return file_->Add(request_.chunk());
  }

  void Parse() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!begun_) return FinishNow(InvalidArgument("kind: must be start in the first message, got no message"));
    parsing_ = true;
    const bool added = pool_->TryAdd([self = shared_from_this()] {
      absl::StatusOr<v1::ImportResponse> result = self->files_->Import(self->start_, *std::move(self->file_));
      absl::MutexLock lock(&self->mutex_);
      if (self->over_) return;
      if (result.ok()) *self->response_ = *std::move(result);
      self->FinishNow(result.status());
    });
    if (!added) FinishNow(absl::ResourceExhaustedError("the server has too much to do"));
  }

  void FinishNow(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    over_ = true;
    silence_.Stop();
    place_.reset();
    Finish(record_.Done(status));
  }

  const ModelFiles* const files_;
  WorkerPool* const pool_;
  Transfers* const transfers_;
  v1::ImportResponse* const response_;
  const CallRecord record_;
  absl::Mutex mutex_;
  std::shared_ptr<ImportReactor> self_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Transfers::Place> place_ ABSL_GUARDED_BY(mutex_);
  SilenceAlarm silence_ ABSL_GUARDED_BY(mutex_);
  v1::ImportRequest request_;
  // Written under the mutex until parsing begins, then read by the pool alone.
  v1::ImportStart start_;
  std::optional<IncomingFile> file_;
  bool begun_ ABSL_GUARDED_BY(mutex_) = false, ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool parsing_ ABSL_GUARDED_BY(mutex_) = false;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
};

// Makes the file on the pool, then sends it as the client takes it.
class ExportReactor final : public grpc::ServerWriteReactor<v1::ExportResponse>,
                            public std::enable_shared_from_this<ExportReactor> {
 public:
  ExportReactor(const ModelFiles* files, WorkerPool* pool, Metrics* metrics, Transfers* transfers,
                const v1::ExportRequest& request)
      : files_(files),
        pool_(pool),
        transfers_(transfers),
        request_(request),
        record_(metrics, "Models/Export"),
        silence_(transfers->silence()) {}

  void Begin(std::shared_ptr<ExportReactor> self) {
    absl::MutexLock lock(&mutex_);
    self_ = std::move(self);
    auto place = transfers_->Enter();
    if (!place.ok()) return FinishNow(place.status());
    place_ = *std::move(place);
    const bool added = pool_->TryAdd([self = shared_from_this()] { self->Make(); });
    if (!added) FinishNow(absl::ResourceExhaustedError("the server has too much to do"));
  }

  void LookForSilence() {
    absl::MutexLock lock(&mutex_);
    if (over_) return;
    if (silence_.TooLong()) return FinishNow(silence_.status());
    WatchSilence(self_, pool_, &silence_);
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    if (over_) return;
    silence_.Heard();
    if (!ok) return FinishNow(absl::CancelledError("the client has gone"));
    Next();
  }
  void OnCancel() override {
    absl::MutexLock lock(&mutex_);
    if (!over_) FinishNow(absl::CancelledError("the client has gone"));
  }
  void OnDone() override { ReleaseSelf(pool_, &mutex_, &self_); }

 private:
  void Make() {
    absl::StatusOr<ExportedFile> file = files_->Export(request_);
    absl::MutexLock lock(&mutex_);
    if (over_) return;
    if (!file.ok()) return FinishNow(file.status());
    file_ = *std::move(file);
    *response_.mutable_header() = file_.header;
    silence_.Heard();
    WatchSilence(self_, pool_, &silence_);
    StartWrite(&response_);
  }

  void Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::string* chunk = response_.mutable_chunk();
    chunk->clear();
    // A message holds as much as it may, of as many tensors as that takes.
    while (chunk->size() < kChunkBytes && part_ <= file_.tensors.size()) {
      const absl::string_view whole = part_ == 0
                                          ? absl::string_view(file_.head)
                                          : absl::string_view(static_cast<const char*>(file_.tensors[part_ - 1].data),
                                                              file_.tensors[part_ - 1].size_bytes());
      const absl::string_view some = whole.substr(sent_, kChunkBytes - chunk->size());
      chunk->append(some.data(), some.size());
      sent_ += some.size();
      if (sent_ < whole.size()) break;
      ++part_;
      sent_ = 0;
    }
    if (chunk->empty()) return FinishNow(absl::OkStatus());
    StartWrite(&response_);
  }

  void FinishNow(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    over_ = true;
    silence_.Stop();
    place_.reset();
    Finish(record_.Done(status));
  }

  const ModelFiles* const files_;
  WorkerPool* const pool_;
  Transfers* const transfers_;
  const v1::ExportRequest request_;
  const CallRecord record_;
  absl::Mutex mutex_;
  std::shared_ptr<ExportReactor> self_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Transfers::Place> place_ ABSL_GUARDED_BY(mutex_);
  SilenceAlarm silence_ ABSL_GUARDED_BY(mutex_);
  v1::ExportResponse response_;
  ExportedFile file_ ABSL_GUARDED_BY(mutex_);
  // What is sent next: 0 is the head, then the tensors; bytes of it that are sent.
  size_t part_ ABSL_GUARDED_BY(mutex_) = 0, sent_ ABSL_GUARDED_BY(mutex_) = 0;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerReadReactor<v1::ImportRequest>* ModelsService::Import(grpc::CallbackServerContext*,
                                                                  v1::ImportResponse* response) {
  auto reactor = std::make_shared<ImportReactor>(files_, pool_, metrics_, transfers_, response);
  reactor->Begin(reactor);
  return reactor.get();
}

grpc::ServerWriteReactor<v1::ExportResponse>* ModelsService::Export(grpc::CallbackServerContext*,
                                                                    const v1::ExportRequest* request) {
  auto reactor = std::make_shared<ExportReactor>(files_, pool_, metrics_, transfers_, *request);
  reactor->Begin(reactor);
  return reactor.get();
}

}  // namespace strata::service
