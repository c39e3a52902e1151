#include "service/batching/batcher.h"

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/precedence.h"
#include "engine/base/status.h"
#include "service/batching/rows.h"
#include "service/batching/thread.h"

namespace strata::service {
namespace {

// Equal for requests that differ in the size of axis 0 only. A collision is harmless: see RunTogether.
uint64_t SignatureOf(const NamedViews& inputs) {
  std::vector<int64_t> parts;
  for (const auto& [name, view] : inputs) {
    parts.push_back(static_cast<int64_t>(absl::HashOf(name)));
    parts.push_back(static_cast<int64_t>(view.dtype));
    parts.push_back(static_cast<int64_t>(view.shape.size()));
    if (!view.shape.empty()) parts.insert(parts.end(), view.shape.begin() + 1, view.shape.end());
  }
  return absl::HashOf(parts);
}

bool SameButForRows(const NamedViews& a, const NamedViews& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) {
           return x.first == y.first && x.second.dtype == y.second.dtype &&
                  x.second.shape.size() == y.second.shape.size() &&
                  std::equal(x.second.shape.begin() + 1, x.second.shape.end(), y.second.shape.begin() + 1);
         });
}

}  // namespace

bool Batcher::Batchable(const Version& version) {
  const auto has_batch = [](const PortSpec& port) { return !port.shape.empty() && port.shape[0] == -1; };
  return version.rows_independent() && !version.inputs().empty() &&
         std::all_of(version.inputs().begin(), version.inputs().end(), has_batch) &&
         std::all_of(version.outputs().begin(), version.outputs().end(), has_batch);
}

Batcher::Batcher(const Options& options) : options_(options) {
  STRATA_CHECK(options.metrics != nullptr);
  for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { Loop(); });
}

Batcher::~Batcher() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  for (std::thread& thread : threads_) thread.join();
}

absl::Status Batcher::Add(InferenceJob job) {
  const absl::Time now = absl::Now();
  Waiting waiting{.signature = SignatureOf(job.inputs), .rows = job.rows, .arrived = now, .deadline = job.deadline};
  size_t requests;
  {
    absl::MutexLock lock(&mutex_);
    if (requests_ >= options_.max_requests || stop_) {
      options_.metrics->Rejected("queue_full");
      return absl::ResourceExhaustedError(absl::StrCat("inference: ", requests_, " requests wait already"));
    }
    if (bytes_ + job.bytes > options_.max_bytes && requests_ > 0) {
      options_.metrics->Rejected("queue_bytes");
      return absl::ResourceExhaustedError(absl::StrCat("inference: ", bytes_, " bytes of requests wait already"));
    }
    Queue& queue = queues_[job.version.get()];
    queue.limits = {Batchable(*job.version), options_.max_rows, options_.max_delay};
    bytes_ += job.bytes;
    requests = ++requests_;
    BeginUrgentWork();  // until Finish
    queue.entries.push_back({std::move(job), waiting});
    fresh_ = true;
  }
  options_.metrics->InferenceQueue(static_cast<int64_t>(requests));
  return absl::OkStatus();
}

Batcher::Work Batcher::Take(absl::Time now, absl::Time* wake) {
  Work work;
  // The version whose oldest request has waited longest goes first.
  std::vector<Queue*> order;
  for (auto& [version, queue] : queues_) order.push_back(&queue);
  std::sort(order.begin(), order.end(), [](const Queue* a, const Queue* b) {
    return a->entries.front().waiting.arrived < b->entries.front().waiting.arrived;
  });
  *wake = absl::InfiniteFuture();
  for (Queue* queue : order) {
    std::vector<Waiting> view;
    for (Entry& e : queue->entries) {
      e.waiting.cancelled = e.job.cancelled && e.job.cancelled();
      view.push_back(e.waiting);
    }
    BatchLimits limits = queue->limits;
    if (stop_) limits.max_delay = absl::ZeroDuration();
    const Decision decision = Decide(view, now, limits);
    *wake = std::min(*wake, decision.wake);
    std::vector<int> where(view.size(), 0);  // 0 stays, 1 dropped, 2 runs
    for (const size_t i : decision.drop) where[i] = 1;
    for (const size_t i : decision.run) where[i] = 2;
    std::deque<Entry> stay;
    for (size_t i = 0; i < view.size(); ++i) {
      Entry& e = queue->entries[i];
      if (where[i] == 0) {
        stay.push_back(std::move(e));
        continue;
      }
      --requests_;
      bytes_ -= e.job.bytes;
      (where[i] == 1 ? work.drop : work.run).push_back(std::move(e));
    }
    queue->entries = std::move(stay);
    if (!work.run.empty()) break;
  }
  std::erase_if(queues_, [](const auto& pair) { return pair.second.entries.empty(); });
  return work;
}

void Batcher::Loop() {
  SetUpThread("inference", /*nice=*/0);
  for (;;) {
    Work work;
    {
      absl::MutexLock lock(&mutex_);
      absl::Time wake;
      work = Take(absl::Now(), &wake);
      // Whoever took work leaves the rest of the queue to the next thread.
      fresh_ = !work.run.empty() && requests_ > 0;
      if (work.run.empty() && work.drop.empty()) {
        if (stop_ && requests_ == 0) return;
        mutex_.AwaitWithDeadline(absl::Condition(this, &Batcher::Changed), wake);
        continue;
      }
    }
    for (Entry& e : work.drop) Drop(e);
    if (!work.run.empty()) Run(std::move(work.run));
  }
}

void Batcher::Drop(Entry& entry) {
  const bool cancelled = entry.waiting.cancelled;
  options_.metrics->Rejected(cancelled ? "cancelled" : "deadline");
  Finish(entry,
         cancelled ? absl::CancelledError("inference: the client has gone")
                   : absl::DeadlineExceededError("inference: the deadline passed before a worker was free"),
         absl::Now());
}

void Batcher::Finish(Entry& entry, absl::StatusOr<NamedTensors> outputs, absl::Time started) {
  EndUrgentWork();
  entry.job.done({std::move(outputs), started - entry.waiting.arrived});
}

void Batcher::Run(std::vector<Entry> batch) {
  if (batch.size() > 1) return RunTogether(batch);
  Entry& entry = batch.front();
  const absl::Time started = absl::Now();
  options_.metrics->BatchRun(entry.job.model, entry.job.rows);
  Finish(entry, entry.job.version->Predict(entry.job.inputs), started);
}

void Batcher::RunTogether(std::vector<Entry>& batch) {
  const absl::Time started = absl::Now();
  std::vector<const NamedViews*> requests;
  std::vector<int64_t> rows;
  int64_t total = 0;
  bool same = true;
  for (const Entry& e : batch) {
    same = same && SameButForRows(e.job.inputs, batch.front().job.inputs);
    requests.push_back(&e.job.inputs);
    rows.push_back(e.job.rows);
    total += e.job.rows;
  }
  absl::StatusOr<std::vector<NamedTensors>> pieces = absl::InternalError("not run");
  if (same) {
    const NamedTensors joined = GatherRows(requests, PaddedRows(total, options_.max_rows));
    NamedViews views;
    for (const auto& [name, tensor] : joined) views.emplace(name, tensor.view());
    absl::StatusOr<NamedTensors> outputs = batch.front().job.version->Predict(views);
    pieces = outputs.ok() ? ScatterRows(*outputs, rows) : outputs.status();
    options_.metrics->BatchRun(batch.front().job.model, total);
  }
  for (size_t i = 0; i < batch.size(); ++i) {
    // One request's bad values (an index out of range) must not fail its neighbours: each then runs alone.
    Finish(batch[i],
           pieces.ok() ? absl::StatusOr<NamedTensors>(std::move((*pieces)[i]))
                       : batch[i].job.version->Predict(batch[i].job.inputs),
           started);
  }
}

}  // namespace strata::service
