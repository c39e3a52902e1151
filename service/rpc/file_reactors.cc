// Models.Import and Models.Export: files in chunks. Reads and writes are gRPC's; parsing and writing files is the
// pool's.

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "engine/base/background_hash.h"
#include "engine/base/status.h"
#include "service/rpc/chunks.h"
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
class ImportReactor final : public grpc::ServerReadReactor<grpc::ByteBuffer>,
                            public std::enable_shared_from_this<ImportReactor> {
 public:
  ImportReactor(const ModelFiles* files, WorkerPool* pool, Metrics* metrics, Transfers* transfers,
                grpc::ByteBuffer* response)
      : files_(files),
        pool_(pool),
        transfers_(transfers),
        response_(response),
        record_(metrics, "Models/Import"),
        silence_(transfers->options()) {}

  void Begin(std::shared_ptr<ImportReactor> self) {
    absl::MutexLock lock(&mutex_);
    self_ = std::move(self);
    auto place = transfers_->Enter();
    if (!place.ok()) return FinishNow(place.status());
    place_ = *std::move(place);
    silence_.Heard();
    WatchSilence(self_, pool_, &silence_);
    StartRead(&message_);
  }
  void LookForSilence() {
    absl::MutexLock lock(&mutex_);
    if (over_ || parsing_) return;
    if (const absl::Status status = silence_.Check(); !status.ok()) return FinishNow(status);
    WatchSilence(self_, pool_, &silence_);
  }

  void OnReadDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    if (over_) return;
    silence_.Heard();
    if (!ok) return Parse();
    if (const absl::Status status = Take(); !status.ok()) return FinishNow(status);
    StartRead(&message_);
  }
  void OnCancel() override {
    absl::MutexLock lock(&mutex_);
    // While the pool parses, its answer ends the call.
    if (!over_ && !parsing_) FinishNow(absl::CancelledError("the client has gone"));
  }
  void OnDone() override { ReleaseSelf(pool_, &mutex_, &self_); }

 private:
  absl::Status Take() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto chunk = ChunkOf(message_, v1::ImportRequest::kChunkFieldNumber);
    if (!chunk.has_value()) return TakeRequest();
    if (!begun_) return InvalidArgument("kind: must be start in the first message, got a chunk");
    if (ended_) return InvalidArgument("kind: must be nothing after the digest, got another message");
    for (const grpc::Slice& piece : *chunk) {
      STRATA_RETURN_IF_ERROR(file_->Add({reinterpret_cast<const char*>(piece.begin()), piece.size()}));
    }
    return absl::OkStatus();
  }

  // Any message, also a chunk in another encoding than that of protobuf's own printer.
  absl::Status TakeRequest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    v1::ImportRequest request;
    if (!ParseMessage(&message_, &request))
      return InvalidArgument("message: must be an ImportRequest, got other bytes");
    if (request.has_start() == begun_) {
      return InvalidArgument(begun_ ? "kind: must be start in the first message only, got it again"
                                    : "kind: must be start in the first message, got another");
    }
    if (!begun_) {
      begun_ = true;
      start_ = request.start();
      STRATA_ASSIGN_OR_RETURN(IncomingFile file, files_->Begin(start_));
      file_.emplace(std::move(file));
      return absl::OkStatus();
    }
    if (ended_) return InvalidArgument("kind: must be nothing after the digest, got another message");
    if (request.has_digest()) {
      ended_ = true;
      if (start_.digest().empty()) {
        start_.set_digest(request.digest());
      } else if (start_.digest() != request.digest()) {
        return InvalidArgument("digest: must be the one that start has, ", start_.digest().substr(0, 64),
                               ", got another");
      }
      return absl::OkStatus();
    }
    if (!request.has_chunk()) return InvalidArgument("kind: must be a chunk, got nothing");
    return file_->Add(request.chunk());
  }

  void Parse() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!begun_) return FinishNow(InvalidArgument("kind: must be start in the first message, got no message"));
    parsing_ = true;
    const bool added = pool_->TryAdd([self = shared_from_this()] {
      absl::StatusOr<v1::ImportResponse> result = self->files_->Import(self->start_, *std::move(self->file_));
      absl::MutexLock lock(&self->mutex_);
      if (self->over_) return;
      if (result.ok()) *self->response_ = PrintMessage(*result);
      self->FinishNow(result.status());
    });
    if (!added) FinishNow(absl::ResourceExhaustedError("the server has too much to do"));
  }

  void FinishNow(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    over_ = true;
    silence_.Stop();
    place_.reset();
    if (file_.has_value()) file_->GiveBackShare();
    Finish(record_.Done(status));
  }

  const ModelFiles* const files_;
  WorkerPool* const pool_;
  Transfers* const transfers_;
  grpc::ByteBuffer* const response_;
  const CallRecord record_;
  absl::Mutex mutex_;
  std::shared_ptr<ImportReactor> self_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Transfers::Place> place_ ABSL_GUARDED_BY(mutex_);
  SilenceAlarm silence_ ABSL_GUARDED_BY(mutex_);
  grpc::ByteBuffer message_;
  // Written under the mutex until parsing begins, then read by the pool alone.
  v1::ImportStart start_;
  std::optional<IncomingFile> file_;
  bool begun_ ABSL_GUARDED_BY(mutex_) = false, ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool parsing_ ABSL_GUARDED_BY(mutex_) = false;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
};

// Makes the file on the pool, then sends it as the client takes it.
class ExportReactor final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                            public std::enable_shared_from_this<ExportReactor> {
 public:
  ExportReactor(const ModelFiles* files, WorkerPool* pool, Metrics* metrics, Transfers* transfers,
                std::optional<v1::ExportRequest> request)
      : files_(files),
        pool_(pool),
        transfers_(transfers),
        request_(std::move(request)),
        record_(metrics, "Models/Export"),
        silence_(transfers->options()) {}

  void Begin(std::shared_ptr<ExportReactor> self) {
    absl::MutexLock lock(&mutex_);
    self_ = std::move(self);
    auto place = transfers_->Enter();
    if (!place.ok()) return FinishNow(place.status());
    place_ = *std::move(place);
    if (!request_.has_value()) return FinishNow(InvalidArgument("message: must be an ExportRequest, got other bytes"));
    const bool added = pool_->TryAdd([self = shared_from_this()] { self->Make(); });
    if (!added) FinishNow(absl::ResourceExhaustedError("the server has too much to do"));
  }

  void LookForSilence() {
    absl::MutexLock lock(&mutex_);
    if (over_) return;
    if (const absl::Status status = silence_.Check(); !status.ok()) return FinishNow(status);
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
    absl::StatusOr<ExportedFile> made = files_->Export(*request_);
    absl::MutexLock lock(&mutex_);
    if (over_) return;
    if (!made.ok()) return FinishNow(made.status());
    file_ = std::make_shared<const ExportedFile>(*std::move(made));
    if (file_->header.digest().empty()) {
      hash_ = std::make_unique<BackgroundHash>();
      for (size_t part = 0; part <= file_->tensors.size(); ++part) hash_->Add(Part(part));
    }
    v1::ExportResponse header;
    *header.mutable_header() = file_->header;
    silence_.Heard();
    WatchSilence(self_, pool_, &silence_);
    Send(PrintMessage(header));
  }

  // The head of the file, then its tensors.
  absl::string_view Part(size_t part) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (part == 0) return file_->head;
    const TensorView& t = file_->tensors[part - 1];
    return {static_cast<const char*>(t.data), t.size_bytes()};
  }

  void Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (ended_) return FinishNow(absl::OkStatus());
    // A message holds as much as it may, of as many tensors as that takes.
    std::vector<absl::string_view> pieces;
    size_t size = 0;
    while (size < kChunkBytes && part_ <= file_->tensors.size()) {
      const absl::string_view whole = Part(part_);
      pieces.push_back(whole.substr(sent_, kChunkBytes - size));
      size += pieces.back().size();
      sent_ += pieces.back().size();
      if (sent_ < whole.size()) break;
      ++part_;
      sent_ = 0;
    }
    if (size > 0) return Send(ChunkMessage(v1::ExportResponse::kChunkFieldNumber, pieces, file_));
    if (hash_ == nullptr) return FinishNow(absl::OkStatus());
    ended_ = true;
    // It takes a while if the client was faster than the hash.
    const bool added = pool_->TryAdd([self = shared_from_this()] { self->SendDigest(); });
    if (!added) FinishNow(absl::ResourceExhaustedError("the server has too much to do"));
  }

  void SendDigest() {
    v1::ExportResponse last;
    last.set_digest(hash_->Hex());
    absl::MutexLock lock(&mutex_);
    if (!over_) Send(PrintMessage(last));
  }

  void Send(grpc::ByteBuffer message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    message_ = std::move(message);
    StartWrite(&message_);
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
  const std::optional<v1::ExportRequest> request_;  // nothing: it was no such message
  const CallRecord record_;
  absl::Mutex mutex_;
  std::shared_ptr<ExportReactor> self_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Transfers::Place> place_ ABSL_GUARDED_BY(mutex_);
  SilenceAlarm silence_ ABSL_GUARDED_BY(mutex_);
  grpc::ByteBuffer message_;
  std::shared_ptr<const ExportedFile> file_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<BackgroundHash> hash_;  // set before the first message; reads the file: goes first
  // What is sent next: 0 is the head, then the tensors; bytes of it that are sent.
  size_t part_ ABSL_GUARDED_BY(mutex_) = 0, sent_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;  // the digest is on its way, or sent
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerReadReactor<grpc::ByteBuffer>* ModelsService::Import(grpc::CallbackServerContext*,
                                                                 grpc::ByteBuffer* response) {
  auto reactor = std::make_shared<ImportReactor>(files_, pool_, metrics_, transfers_, response);
  reactor->Begin(reactor);
  return reactor.get();
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* ModelsService::Export(grpc::CallbackServerContext*,
                                                                  const grpc::ByteBuffer* request) {
  grpc::ByteBuffer bytes = *request;
  std::optional<v1::ExportRequest> parsed(std::in_place);
  if (!ParseMessage(&bytes, &*parsed)) parsed.reset();
  auto reactor = std::make_shared<ExportReactor>(files_, pool_, metrics_, transfers_, std::move(parsed));
  reactor->Begin(reactor);
  return reactor.get();
}

}  // namespace strata::service
