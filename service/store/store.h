// What survives the server: registry and history in SQLite, weights in safetensors files beside it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "service/store/database.h"
#include "service/store/files.h"
#include "service/store/growing_file.h"
#include "service/store/records.h"

namespace strata::service {

// Thread-safe. Every function blocks on the disk; a change is durable when its function returns OK.
class Store {
 public:
  // Recovers what a crash left: runs that were going on are journalled as INTERRUPTED, history beyond their last
  // checkpoint is dropped, files that nobody knows are deleted.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const std::string& data_dir);

  absl::StatusOr<std::vector<ModelRecord>> Models();
  absl::StatusOr<std::vector<VersionRecord>> Versions();
  absl::StatusOr<std::vector<RunRecord>> Runs();

  // In order of registration.
  absl::StatusOr<std::vector<ComponentRecord>> Components();
  // Sets the id. ALREADY_EXISTS if the name and version are taken.
  absl::Status AddComponent(ComponentRecord* component);
  absl::Status DeleteComponent(int64_t id);

  // Sets the id. ALREADY_EXISTS if the name is taken.
  absl::Status AddModel(ModelRecord* model);
  // With its versions, runs, history and files.
  absl::Status DeleteModel(int64_t id);

  // Writes the weights and makes them the model's newest and serving version. Sets version and stamp.
  // `training`, if given, is kept beside them. `grown`, if given, is the file of these weights if it holds them.
  absl::Status AddVersion(VersionRecord* version, const NamedViews& weights, const Metadata& metadata,
                          const TensorFile* training = nullptr, GrowingFile* grown = nullptr);
  // The file of a version whose weights arrive just now. Starts a thread.
  std::unique_ptr<GrowingFile> GrowVersion(GrowingFile::Planner planner) const {
    return dir_->Grow(std::move(planner));
  }
  absl::Status SetServing(int64_t model_id, int64_t version);
  absl::StatusOr<TensorFile> ReadVersion(const VersionRecord& version);
  // HasTraining().
  absl::StatusOr<TensorFile> ReadVersionTraining(const VersionRecord& version);

  // Sets the id. `start`, if given, is the checkpoint that the run begins with, of step `durable_through`: either both
  // are durable or neither is.
  absl::Status AddRun(RunRecord* run, const TensorFile* start = nullptr);
  // Journals state, error and time.
  absl::Status UpdateRun(const RunRecord& run);
  // Writes a checkpoint for step `step` and makes it the run's; `run` changes only on success. The step that the run's
  // checkpoint has already is no work: equal steps of a run have equal bytes.
  absl::Status SaveCheckpoint(RunRecord* run, int64_t step, const NamedTensors& tensors, const Metadata& metadata);
  absl::StatusOr<TensorFile> ReadCheckpoint(const RunRecord& run);

  // One transaction: rows, and states of runs that no longer need a transaction of their own.
  absl::Status Append(const std::vector<HistoryRow>& rows, const std::vector<RunRecord>& states);
  // At most `limit` rows from `from_step` on and beyond `after_position`, by position.
  absl::StatusOr<std::vector<HistoryRow>> ReadHistory(int64_t run_id, int64_t after_position, int64_t from_step,
                                                      int limit);
  // NOT_FOUND if the step is not in the history.
  absl::StatusOr<HistoryRow> ReadStep(int64_t run_id, int64_t step);
  // The newest step or evaluation of a run; NOT_FOUND if there is none.
  absl::StatusOr<HistoryRow> ReadLast(int64_t run_id, bool evaluation);
  // Largest position of a run's history.
  absl::StatusOr<int64_t> LastPosition(int64_t run_id);
  absl::Status DropHistoryAfter(int64_t run_id, int64_t step);

 private:
  Store(std::unique_ptr<DataDir> dir, Database writer, Database reader)
      : dir_(std::move(dir)), writer_(std::move(writer)), reader_(std::move(reader)) {}
  absl::Status Recover();

  const std::unique_ptr<DataDir> dir_;
  absl::Mutex write_mutex_;
  Database writer_ ABSL_GUARDED_BY(write_mutex_);
  absl::Mutex read_mutex_;
  Database reader_ ABSL_GUARDED_BY(read_mutex_);
};

}  // namespace strata::service
