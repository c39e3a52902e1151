#include "cli/schedule.h"

namespace strata::cli {

void Schedule::Seek(uint64_t next_sequence, int64_t evaluated_epochs, bool published) {
  sequence_ = next_sequence;
  published_ = published;
  part_ = 0;
  evaluating_ = 0;
  // The run stands at the end of an epoch whose evaluation was not answered.
  const int64_t batches = static_cast<int64_t>(next_sequence - 1);
  const int64_t epochs_done = batches / options_.batches_per_epoch;
  if (options_.evaluations_per_epoch > 0 && batches > 0 && batches % options_.batches_per_epoch == 0 &&
      evaluated_epochs < epochs_done) {
    evaluating_ = epochs_done;
  }
}

Item Schedule::Next() {
  if (evaluating_ > 0 && !stopped_) {
    Item item{.kind = Item::Kind::kEvaluate, .epoch = evaluating_, .part = part_++};
    item.last = part_ == options_.evaluations_per_epoch;
    if (item.last) evaluating_ = part_ = 0;
    return item;
  }
  const int64_t epoch = static_cast<int64_t>(sequence_ - 1) / options_.batches_per_epoch + 1;
  if (epoch <= options_.epochs && !stopped_) {
    Item item{.kind = Item::Kind::kBatch, .sequence = sequence_, .epoch = epoch};
    item.last = static_cast<int64_t>(sequence_) % options_.batches_per_epoch == 0;
    if (item.last && options_.evaluations_per_epoch > 0) evaluating_ = epoch;
    ++sequence_;
    return item;
  }
  if (options_.publish && !published_) {
    published_ = true;
    return {.kind = Item::Kind::kPublish};
  }
  return {.kind = Item::Kind::kFinish};
}

}  // namespace strata::cli
