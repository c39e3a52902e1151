// The order of what a training sends: batches, an evaluation after each epoch, at the end a version and the end of the
// run.
//
//   Schedule schedule({.batches_per_epoch = 860, .evaluations_per_epoch = 20, .epochs = 3, .publish = true});
//   schedule.Seek(attached.next_sequence(), /*evaluated_epochs=*/0, /*published=*/false);
//   for (Item item = schedule.Next(); ; item = schedule.Next()) Send(item);   // up to and with kFinish
#pragma once

#include <cstdint>

namespace strata::cli {

struct Item {
  enum class Kind { kBatch, kEvaluate, kPublish, kFinish };
  Kind kind = Kind::kFinish;
  uint64_t sequence = 0;  // of a batch, from 1
  int64_t epoch = 0;      // of a batch or an evaluation, from 1
  int64_t part = 0;       // of an evaluation, from 0
  bool last = false;      // the last batch or part of its epoch
};

class Schedule {
 public:
  struct Options {
    int64_t batches_per_epoch = 1;
    int64_t evaluations_per_epoch = 0;  // parts of one evaluation; 0: none
    int64_t epochs = 1;
    bool publish = false;
  };
  explicit Schedule(const Options& options) : options_(options) {}

  // Goes to where a run stands: `next_sequence` is the batch that the server wants, and the evaluations of so many
  // epochs (and the publication) have been answered already.
  void Seek(uint64_t next_sequence, int64_t evaluated_epochs, bool published);

  // The training is over: no more batches and evaluations.
  void Stop() { stopped_ = true; }

  // After kFinish, kFinish again.
  Item Next();

  const Options& options() const { return options_; }

 private:
  Options options_;
  uint64_t sequence_ = 1;   // the next batch
  int64_t evaluating_ = 0;  // epoch under evaluation; 0: none
  int64_t part_ = 0;        // its next part
  bool published_ = false;
  bool stopped_ = false;
};

}  // namespace strata::cli
