#include "service/core/watcher.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/base/status.h"

namespace strata::service {

Watcher::Watcher(std::shared_ptr<Run> run, Store* store, uint64_t from_step, std::function<void()> wake)
    : run_(std::move(run)),
      store_(store),
      from_step_(static_cast<int64_t>(std::min<uint64_t>(from_step, std::numeric_limits<int64_t>::max()))),
      wake_(std::make_shared<std::function<void()>>(std::move(wake))) {
  run_->Watch(wake_);
}

absl::StatusOr<Watcher::Events> Watcher::Next() {
  constexpr int kPage = 256;
  STRATA_RETURN_IF_ERROR(run_->forgotten());
  Events result;
  // Read before the rows: a state that is seen here has all its rows in the store.
  const uint64_t state_version = run_->state_version();
  const bool ended = IsTerminal(run_->state());
  if (sent_state_ == 0) {
    sent_state_ = state_version;
    *result.events.emplace_back().mutable_state() = run_->Info();
  }
  STRATA_ASSIGN_OR_RETURN(const std::vector<HistoryRow> rows,
                          store_->ReadHistory(run_->id(), position_, from_step_, kPage));
  for (const HistoryRow& row : rows) {
    position_ = row.position;
    v1::RunEvent& event = result.events.emplace_back();
    const bool parsed = row.evaluation ? event.mutable_evaluation()->ParseFromString(row.payload)
                                       : event.mutable_step()->ParseFromString(row.payload);
    if (!parsed) return absl::DataLossError("store: a row of the history is damaged");
  }
  if (rows.size() == kPage) return result;
  if (state_version != sent_state_) {
    sent_state_ = state_version;
    *result.events.emplace_back().mutable_state() = run_->Info();
  }
  result.last = ended;
  return result;
}

}  // namespace strata::service
