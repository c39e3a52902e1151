#include "service/store/growing_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "engine/base/sha256.h"
#include "engine/base/status.h"

namespace strata::service {
namespace {

// Bytes that are hashed while they are still in the cache that the copy from the message left them in.
constexpr size_t kPieceBytes = size_t{256} << 10;
// The disk begins with what is written so far each time that this much is.
constexpr uint64_t kStartBytes = uint64_t{8} << 20;

}  // namespace

GrowingFile::GrowingFile(std::string path, Planner planner)
    : path_(std::move(path)), planner_(std::move(planner)), thread_([this] { Run(); }) {}

GrowingFile::~GrowingFile() {
  {
    absl::MutexLock lock(&mutex_);
    end_ = true;
  }
  thread_.join();
  ::unlink(path_.c_str());
}

void GrowingFile::Begin(TensorHeader header) {
  absl::MutexLock lock(&mutex_);
  arrived_.resize(header.entries.size());
  header_ = std::move(header);
}

void GrowingFile::Grown(size_t entry, const void* data, uint64_t filled) {
  absl::MutexLock lock(&mutex_);
  arrived_[entry] = {static_cast<const char*>(data), filled};
}

void GrowingFile::Set(State state, absl::Status status) {
  absl::MutexLock lock(&mutex_);
  state_ = state;
  status_ = std::move(status);
}

void GrowingFile::Run() {
  const TensorHeader* header = nullptr;  // nobody changes it once it is there
  {
    const auto due = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return header_.has_value() || end_; };
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(&due));
    if (!header_.has_value()) {
      state_ = State::kDeclined;
      return;
    }
    header = &*header_;
  }
  const std::optional<GrowingPlan> plan = planner_(*header);
  if (!plan.has_value()) return Set(State::kDeclined);
  {
    absl::MutexLock lock(&mutex_);
    plan_ = *plan;
  }
  if (const absl::Status status = Write(*header, *plan); !status.ok()) Set(State::kDurable, status);
}

absl::string_view GrowingFile::Await(size_t entry, uint64_t done) {
  const auto due = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return arrived_[entry].filled > done || end_; };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&due));
  const Arrived& a = arrived_[entry];
  return a.filled > done ? absl::string_view(a.data + done, a.filled - done) : absl::string_view();
}

absl::Status GrowingFile::Write(const TensorHeader& header, const GrowingPlan& plan) {
  const Fd fd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644));
  if (!fd.ok()) return IoError("creating", "a version's file");
  Sha256 hash;
  FileStamp stamp;
  uint64_t started = 0;
  const auto put = [&](absl::string_view bytes) {
    while (!bytes.empty()) {
      const absl::string_view piece = bytes.substr(0, kPieceBytes);
      hash.Add(piece.data(), piece.size());
      if (!WriteAll(fd.get(), piece.data(), piece.size())) return false;
      stamp.bytes += piece.size();
      bytes.remove_prefix(piece.size());
    }
    if (stamp.bytes - started >= kStartBytes) {
      // Only a hint: fsync is what counts.
      ::sync_file_range(fd.get(), static_cast<off64_t>(started), static_cast<off64_t>(stamp.bytes - started),
                        SYNC_FILE_RANGE_WRITE);
      started = stamp.bytes;
    }
    return true;
  };
  if (!put(plan.prefix)) return IoError("writing", "a version's file");
  for (const size_t entry : plan.order) {
    const uint64_t size = header.entries[entry].end - header.entries[entry].begin;
    for (uint64_t done = 0; done < size;) {
      const absl::string_view some = Await(entry, done);
      if (some.empty()) return absl::CancelledError("the file did not come to its end");
      if (!put(some)) return IoError("writing", "a version's file");
      done += some.size();
    }
  }
  Set(State::kWritten);
  if (::fsync(fd.get()) != 0) return IoError("fsync of", "a version's file");
  stamp.digest = hash.Hex();
  absl::MutexLock lock(&mutex_);
  stamp_ = stamp;
  state_ = State::kDurable;
  return absl::OkStatus();
}

bool GrowingFile::Written() {
  const auto due = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return state_ != State::kGrowing; };
  absl::MutexLock lock(&mutex_);
  end_ = true;
  mutex_.Await(absl::Condition(&due));
  return state_ != State::kDeclined && !absl::IsCancelled(status_);
}

bool GrowingFile::Holds(absl::string_view prefix, const std::vector<std::string>& order,
                        const NamedViews& tensors) const {
  absl::MutexLock lock(&mutex_);
  if (prefix != plan_.prefix || order.size() != plan_.order.size()) return false;
  for (size_t i = 0; i < order.size(); ++i) {
    const Arrived& a = arrived_[plan_.order[i]];
    const TensorView& t = tensors.at(order[i]);
    if (t.size_bytes() > 0 && (t.data != a.data || t.size_bytes() != a.filled)) return false;
  }
  return true;
}

absl::StatusOr<FileStamp> GrowingFile::Finish() {
  const auto due = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return state_ == State::kDurable; };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&due));
  if (!status_.ok()) return status_;
  return stamp_;
}

}  // namespace strata::service
