#include "service/store/history_writer.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace strata::service {

HistoryWriter::HistoryWriter(Store* store, Options options)
    : store_(store), options_(std::move(options)), thread_([this] { Loop(); }) {}

HistoryWriter::~HistoryWriter() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

void HistoryWriter::Add(HistoryRow row) {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(this, &HistoryWriter::HasRoom));
  rows_.push_back(std::move(row));
}

void HistoryWriter::SetState(RunRecord run) {
  absl::MutexLock lock(&mutex_);
  states_.push_back(std::move(run));
}

absl::Status HistoryWriter::Ready() const {
  absl::MutexLock lock(&mutex_);
  return Crowded() ? last_ : absl::OkStatus();
}

absl::Status HistoryWriter::Flush() {
  absl::MutexLock lock(&mutex_);
  struct Wait {
    HistoryWriter* writer;
    int64_t ticket;
    bool Done() const ABSL_NO_THREAD_SAFETY_ANALYSIS { return writer->flush_done_ >= ticket; }
  } wait{this, ++flush_wanted_};
  mutex_.Await(absl::Condition(&wait, &Wait::Done));
  return last_;
}

void HistoryWriter::Loop() {
  pthread_setname_np(pthread_self(), "history");
  bool stop = false;
  while (!stop) {
    std::vector<HistoryRow> rows;
    std::vector<RunRecord> states;
    int64_t ticket = 0;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &HistoryWriter::Due));
      mutex_.AwaitWithTimeout(absl::Condition(this, &HistoryWriter::Urgent),
                              last_.ok() ? options_.interval : options_.retry);
      stop = stop_;
      ticket = flush_wanted_;
      rows.swap(rows_);
      states.swap(states_);
    }
    absl::Status status;
    if (!rows.empty() || !states.empty()) status = store_->Append(rows, states);
    std::vector<int64_t> touched;
    for (const HistoryRow& row : rows) {
      if (std::find(touched.begin(), touched.end(), row.run_id) == touched.end()) touched.push_back(row.run_id);
    }
    if (!status.ok()) std::fprintf(stderr, "error: history: %s\n", status.ToString().c_str());
    {
      absl::MutexLock lock(&mutex_);
      if (!status.ok() && !stop) {
        rows.insert(rows.end(), std::make_move_iterator(rows_.begin()), std::make_move_iterator(rows_.end()));
        rows_ = std::move(rows);
        states.insert(states.end(), states_.begin(), states_.end());
        states_ = std::move(states);
      }
      last_ = status;
      flush_done_ = ticket;
    }
    if (status.ok() && options_.on_commit && !touched.empty()) options_.on_commit(touched);
  }
}

}  // namespace strata::service
