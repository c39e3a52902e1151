#include "service/store/growing_file.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "engine/base/hold.h"
#include "engine/base/status.h"
#include "service/store/stamped_file.h"

namespace strata::service {

GrowingFile::GrowingFile(std::string path, Planner planner)
    : path_(std::move(path)), planner_(std::move(planner)), thread_([this] { Run(); }) {}

GrowingFile::~GrowingFile() {
  {
    absl::MutexLock lock(&mutex_);
    end_ = unwanted_ = true;
  }
  thread_.join();
  ::unlink(path_.c_str());
}

void GrowingFile::Begin(TensorHeader header) {
  absl::MutexLock lock(&mutex_);
  arrived_.resize(header.entries.size());
  header_ = std::move(header);
}

void GrowingFile::Grown(size_t entry, const Tensor& tensor, uint64_t filled) {
  absl::MutexLock lock(&mutex_);
  if (state_ == State::kDeclined) return;
  Arrived& a = arrived_[entry];
  if (a.data == nullptr) a.data = Hold(tensor);
  a.filled = filled;
}

void GrowingFile::End() {
  absl::MutexLock lock(&mutex_);
  end_ = true;
}

void GrowingFile::Set(State state, absl::Status status) {
  absl::MutexLock lock(&mutex_);
  if (state == State::kDeclined) arrived_.clear();
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
  if (const absl::Status status = Write(*header, *plan); !status.ok()) Set(State::kEnded, status);
}

absl::string_view GrowingFile::Await(size_t entry, uint64_t done) {
  const auto due = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return arrived_[entry].filled > done || end_; };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&due));
  const Arrived& a = arrived_[entry];
  if (unwanted_ || a.filled <= done) return {};
  return {static_cast<const char*>(a.data.get()) + done, a.filled - done};
}

absl::Status GrowingFile::Write(const TensorHeader& header, const GrowingPlan& plan) {
  StampedFile file(path_, "a version's file");
  STRATA_RETURN_IF_ERROR(file.Add(plan.prefix));
  for (const size_t entry : plan.order) {
    const uint64_t size = header.entries[entry].end - header.entries[entry].begin;
    for (uint64_t done = 0; done < size;) {
      const absl::string_view some = Await(entry, done);
      if (some.empty()) return absl::CancelledError("the file did not come to its end");
      STRATA_RETURN_IF_ERROR(file.Add(some));
      done += some.size();
    }
  }
  STRATA_ASSIGN_OR_RETURN(const FileStamp stamp, file.Finish());
  absl::MutexLock lock(&mutex_);
  stamp_ = stamp;
  state_ = State::kEnded;
  return absl::OkStatus();
}

bool GrowingFile::Written() {
  const auto due = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return state_ != State::kGrowing; };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&due));
  return state_ != State::kDeclined && !absl::IsCancelled(status_);
}

bool GrowingFile::Holds(absl::string_view prefix, const std::vector<std::string>& order, const NamedViews& tensors) {
  if (!Written()) return false;
  absl::MutexLock lock(&mutex_);
  if (prefix != plan_.prefix || order.size() != plan_.order.size()) return false;
  for (size_t i = 0; i < order.size(); ++i) {
    const Arrived& a = arrived_[plan_.order[i]];
    const TensorView& t = tensors.at(order[i]);
    if (t.size_bytes() > 0 && (t.data != a.data.get() || t.size_bytes() != a.filled)) return false;
  }
  return true;
}

absl::StatusOr<FileStamp> GrowingFile::Finish() const {
  absl::MutexLock lock(&mutex_);
  if (!status_.ok()) return status_;
  return stamp_;
}

}  // namespace strata::service
