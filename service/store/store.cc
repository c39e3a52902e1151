#include "service/store/store.h"

#include <utility>

#include "engine/base/status.h"
#include "service/store/schema.h"
#include "strata/v1/services.pb.h"

namespace strata::service {
namespace {

int64_t Micros(absl::Time t) { return absl::ToUnixMicros(t); }

RunRecord RunFrom(const Statement& q) {
  return {.id = q.Int(0),
          .name = q.Text(1),
          .model_id = q.Int(2),
          .config = q.Text(3),
          .state = static_cast<int>(q.Int(4)),
          .created = absl::FromUnixMicros(q.Int(5)),
          .updated = absl::FromUnixMicros(q.Int(6)),
          .error = q.Text(7),
          .durable_through = q.Int(8),
          .checkpoint = {q.Text(9), static_cast<uint64_t>(q.Int(10))}};
}

absl::Status PutState(Database& db, const RunRecord& run) {
  return db.Prepare("UPDATE runs SET state = ?, updated = ?, error = ? WHERE id = ?")
      .Bind(1, int64_t{run.state})
      .Bind(2, Micros(run.updated))
      .Bind(3, run.error)
      .Bind(4, run.id)
      .Run();
}

absl::Status PutCheckpoint(Database& db, const RunRecord& run) {
  return db.Prepare("UPDATE runs SET durable_through = ?, digest = ?, bytes = ?, updated = ? WHERE id = ?")
      .Bind(1, run.durable_through)
      .Bind(2, run.checkpoint.digest)
      .Bind(3, static_cast<int64_t>(run.checkpoint.bytes))
      .Bind(4, Micros(run.updated))
      .Bind(5, run.id)
      .Run();
}

absl::Status DropHistory(Database& db, int64_t run_id, int64_t step) {
  return db.Prepare("DELETE FROM history WHERE run_id = ? AND step > ?").Bind(1, run_id).Bind(2, step).Run();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const std::string& data_dir) {
  STRATA_ASSIGN_OR_RETURN(std::unique_ptr<DataDir> dir, DataDir::Open(data_dir));
  const std::string file = data_dir + "/registry.sqlite";
  STRATA_ASSIGN_OR_RETURN(Database writer, Database::Open(file, /*read_only=*/false));
  int64_t version = 0;
  {
    Statement q = writer.Prepare("PRAGMA user_version");
    if (q.Row()) version = q.Int(0);
    STRATA_RETURN_IF_ERROR(q.status());
  }
  if (version > kSchemaVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("data_dir: was written by a newer strata-server (schema ", version, ")"));
  }
  if (version < kSchemaVersion) {
    Transaction t(writer);
    STRATA_RETURN_IF_ERROR(t.status());
    if (version < 1) STRATA_RETURN_IF_ERROR(writer.Execute(kSchema));
    if (version < 2) STRATA_RETURN_IF_ERROR(writer.Execute(kComponentsSchema));
    if (version < 3) STRATA_RETURN_IF_ERROR(writer.Execute(kVersionTrainingSchema));
    STRATA_RETURN_IF_ERROR(writer.Execute(absl::StrCat("PRAGMA user_version = ", kSchemaVersion).c_str()));
    STRATA_RETURN_IF_ERROR(t.Commit());
  }
  STRATA_ASSIGN_OR_RETURN(Database reader, Database::Open(file, /*read_only=*/true));
  std::unique_ptr<Store> store(new Store(std::move(dir), std::move(writer), std::move(reader)));
  STRATA_RETURN_IF_ERROR(store->Recover());
  return store;
}

absl::Status Store::Recover() {
  STRATA_ASSIGN_OR_RETURN(const std::vector<RunRecord> runs, Runs());
  std::vector<std::string> files;
  {
    absl::MutexLock lock(&write_mutex_);
    Transaction t(writer_);
    STRATA_RETURN_IF_ERROR(t.status());
    for (RunRecord run : runs) {
      if (run.HasCheckpoint()) files.push_back(run.File());
      if (run.state != v1::QUEUED && run.state != v1::RUNNING && run.state != v1::CHECKPOINTING &&
          run.state != v1::INTERRUPTED)
        continue;
      run.state = v1::INTERRUPTED;
      STRATA_RETURN_IF_ERROR(PutState(writer_, run));
      STRATA_RETURN_IF_ERROR(DropHistory(writer_, run.id, run.durable_through));
    }
    STRATA_RETURN_IF_ERROR(t.Commit());
  }
  dir_->Sweep("checkpoints", files);
  files.clear();
  STRATA_ASSIGN_OR_RETURN(const std::vector<VersionRecord> versions, Versions());
  for (const VersionRecord& v : versions) {
    files.push_back(v.File());
    if (v.HasTraining()) files.push_back(v.TrainingFile());
  }
  dir_->Sweep("versions", files);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ModelRecord>> Store::Models() {
  absl::MutexLock lock(&read_mutex_);
  std::vector<ModelRecord> rows;
  Statement q = reader_.Prepare("SELECT id, name, definition, digest, created, serving_version FROM models");
  while (q.Row()) {
    rows.push_back({.id = q.Int(0),
                    .name = q.Text(1),
                    .definition = q.Text(2),
                    .digest = q.Text(3),
                    .created = absl::FromUnixMicros(q.Int(4)),
                    .serving_version = q.Int(5)});
  }
  STRATA_RETURN_IF_ERROR(q.status());
  return rows;
}

absl::StatusOr<std::vector<VersionRecord>> Store::Versions() {
  absl::MutexLock lock(&read_mutex_);
  std::vector<VersionRecord> rows;
  Statement q = reader_.Prepare(
      "SELECT model_id, version, run, step, created, description, digest, bytes, training_digest, training_bytes "
      "FROM versions ORDER BY model_id, version");
  while (q.Row()) {
    rows.push_back({.model_id = q.Int(0),
                    .version = q.Int(1),
                    .run = q.Text(2),
                    .step = q.Int(3),
                    .created = absl::FromUnixMicros(q.Int(4)),
                    .description = q.Text(5),
                    .stamp = {q.Text(6), static_cast<uint64_t>(q.Int(7))},
                    .training = {q.Text(8), static_cast<uint64_t>(q.Int(9))}});
  }
  STRATA_RETURN_IF_ERROR(q.status());
  return rows;
}

absl::StatusOr<std::vector<RunRecord>> Store::Runs() {
  absl::MutexLock lock(&read_mutex_);
  std::vector<RunRecord> rows;
  Statement q = reader_.Prepare(
      "SELECT id, name, model_id, config, state, created, updated, error, durable_through, digest, bytes FROM runs "
      "ORDER BY id");
  while (q.Row()) rows.push_back(RunFrom(q));
  STRATA_RETURN_IF_ERROR(q.status());
  return rows;
}

absl::StatusOr<std::vector<ComponentRecord>> Store::Components() {
  absl::MutexLock lock(&read_mutex_);
  std::vector<ComponentRecord> rows;
  Statement q = reader_.Prepare("SELECT id, name, version, definition, created FROM components ORDER BY id");
  while (q.Row()) {
    rows.push_back({.id = q.Int(0),
                    .name = q.Text(1),
                    .version = q.Text(2),
                    .definition = q.Text(3),
                    .created = absl::FromUnixMicros(q.Int(4))});
  }
  STRATA_RETURN_IF_ERROR(q.status());
  return rows;
}

absl::Status Store::AddComponent(ComponentRecord* component) {
  absl::MutexLock lock(&write_mutex_);
  STRATA_RETURN_IF_ERROR(
      writer_.Prepare("INSERT INTO components(name, version, definition, created) VALUES(?, ?, ?, ?)")
          .Bind(1, component->name)
          .Bind(2, component->version)
          .BindBlob(3, component->definition)
          .Bind(4, Micros(component->created))
          .Run());
  component->id = writer_.last_row_id();
  return absl::OkStatus();
}

absl::Status Store::DeleteComponent(int64_t id) {
  absl::MutexLock lock(&write_mutex_);
  return writer_.Prepare("DELETE FROM components WHERE id = ?").Bind(1, id).Run();
}

absl::Status Store::AddModel(ModelRecord* model) {
  absl::MutexLock lock(&write_mutex_);
  STRATA_RETURN_IF_ERROR(writer_.Prepare("INSERT INTO models(name, definition, digest, created) VALUES(?, ?, ?, ?)")
                             .Bind(1, model->name)
                             .BindBlob(2, model->definition)
                             .Bind(3, model->digest)
                             .Bind(4, Micros(model->created))
                             .Run());
  model->id = writer_.last_row_id();
  return absl::OkStatus();
}

absl::Status Store::DeleteModel(int64_t id) {
  STRATA_ASSIGN_OR_RETURN(const std::vector<VersionRecord> versions, Versions());
  STRATA_ASSIGN_OR_RETURN(const std::vector<RunRecord> runs, Runs());
  {
    absl::MutexLock lock(&write_mutex_);
    STRATA_RETURN_IF_ERROR(writer_.Prepare("DELETE FROM models WHERE id = ?").Bind(1, id).Run());
  }
  for (const VersionRecord& v : versions) {
    if (v.model_id != id) continue;
    dir_->Remove(v.File());
    if (v.HasTraining()) dir_->Remove(v.TrainingFile());
  }
  for (const RunRecord& run : runs) {
    if (run.model_id == id && run.HasCheckpoint()) dir_->Remove(run.File());
  }
  return absl::OkStatus();
}

absl::Status Store::AddVersion(VersionRecord* version, const NamedViews& weights, const Metadata& metadata,
                               const TensorFile* training, GrowingFile* grown) {
  {
    // The number is used up even if the rest fails: a number never names two files.
    absl::MutexLock lock(&write_mutex_);
    Statement q =
        writer_.Prepare("UPDATE models SET last_version = last_version + 1 WHERE id = ? RETURNING last_version");
    q.Bind(1, version->model_id);
    if (!q.Row()) return q.status().ok() ? absl::NotFoundError("model: was deleted") : q.status();
    version->version = q.Int(0);
    STRATA_RETURN_IF_ERROR(q.Run());
  }
  std::vector<std::string> order;
  if (grown != nullptr && grown->Holds(TensorFilePrefix(weights, metadata, &order), order, weights)) {
    STRATA_ASSIGN_OR_RETURN(version->stamp, dir_->Adopt(grown, version->File()));
  } else {
    STRATA_ASSIGN_OR_RETURN(version->stamp, dir_->WriteTensors(version->File(), weights, metadata));
  }
  if (training != nullptr) {
    STRATA_ASSIGN_OR_RETURN(
        version->training, dir_->WriteTensors(version->TrainingFile(), ViewsOf(training->tensors), training->metadata));
  }
  absl::MutexLock lock(&write_mutex_);
  Transaction t(writer_);
  STRATA_RETURN_IF_ERROR(t.status());
  STRATA_RETURN_IF_ERROR(writer_
                             .Prepare("INSERT INTO versions(model_id, version, run, step, created, description, "
                                      "digest, bytes, training_digest, training_bytes) VALUES(?, ?, ?, ?, ?, ?, ?, ?, "
                                      "?, ?)")
                             .Bind(1, version->model_id)
                             .Bind(2, version->version)
                             .Bind(3, version->run)
                             .Bind(4, version->step)
                             .Bind(5, Micros(version->created))
                             .Bind(6, version->description)
                             .Bind(7, version->stamp.digest)
                             .Bind(8, static_cast<int64_t>(version->stamp.bytes))
                             .Bind(9, version->training.digest)
                             .Bind(10, static_cast<int64_t>(version->training.bytes))
                             .Run());
  STRATA_RETURN_IF_ERROR(writer_.Prepare("UPDATE models SET serving_version = ? WHERE id = ?")
                             .Bind(1, version->version)
                             .Bind(2, version->model_id)
                             .Run());
  return t.Commit();
}

absl::Status Store::SetServing(int64_t model_id, int64_t version) {
  absl::MutexLock lock(&write_mutex_);
  return writer_.Prepare("UPDATE models SET serving_version = ? WHERE id = ?").Bind(1, version).Bind(2, model_id).Run();
}

absl::StatusOr<TensorFile> Store::ReadVersion(const VersionRecord& version) {
  return dir_->ReadTensors(version.File(), version.stamp);
}

absl::StatusOr<TensorFile> Store::ReadVersionTraining(const VersionRecord& version) {
  return dir_->ReadTensors(version.TrainingFile(), version.training);
}

absl::Status Store::AddRun(RunRecord* run, const TensorFile* start) {
  absl::MutexLock lock(&write_mutex_);
  Transaction t(writer_);
  STRATA_RETURN_IF_ERROR(t.status());
  STRATA_RETURN_IF_ERROR(
      writer_.Prepare("INSERT INTO runs(name, model_id, config, state, created, updated) VALUES(?, ?, ?, ?, ?, ?)")
          .Bind(1, run->name)
          .Bind(2, run->model_id)
          .BindBlob(3, run->config)
          .Bind(4, int64_t{run->state})
          .Bind(5, Micros(run->created))
          .Bind(6, Micros(run->updated))
          .Run());
  run->id = writer_.last_row_id();
  if (start == nullptr) return t.Commit();
  // Its name needs the number. A file without its row is swept at the next start.
  STRATA_ASSIGN_OR_RETURN(run->checkpoint, dir_->WriteTensors(run->File(), ViewsOf(start->tensors), start->metadata));
  STRATA_RETURN_IF_ERROR(PutCheckpoint(writer_, *run));
  return t.Commit();
}

absl::Status Store::UpdateRun(const RunRecord& run) {
  absl::MutexLock lock(&write_mutex_);
  return PutState(writer_, run);
}

absl::Status Store::SaveCheckpoint(RunRecord* run, int64_t step, const NamedTensors& tensors,
                                   const Metadata& metadata) {
  if (step == run->durable_through && run->HasCheckpoint()) return absl::OkStatus();
  RunRecord next = *run;
  next.durable_through = step;
  STRATA_ASSIGN_OR_RETURN(next.checkpoint, dir_->WriteTensors(next.File(), ViewsOf(tensors), metadata));
  {
    absl::MutexLock lock(&write_mutex_);
    STRATA_RETURN_IF_ERROR(PutCheckpoint(writer_, next));
    if (writer_.changes() == 0) {
      dir_->Remove(next.File());
      return absl::NotFoundError("run: was deleted");
    }
  }
  if (run->HasCheckpoint()) dir_->Remove(run->File());
  *run = next;
  return absl::OkStatus();
}

absl::StatusOr<TensorFile> Store::ReadCheckpoint(const RunRecord& run) {
  return dir_->ReadTensors(run.File(), run.checkpoint);
}

absl::Status Store::Append(const std::vector<HistoryRow>& rows, const std::vector<RunRecord>& states) {
  absl::MutexLock lock(&write_mutex_);
  Transaction t(writer_);
  STRATA_RETURN_IF_ERROR(t.status());
  // A run that was deleted meanwhile takes no rows.
  Statement insert = writer_.Prepare(
      "INSERT INTO history(run_id, position, step, evaluation, payload) SELECT ?1, ?2, ?3, ?4, ?5 "
      "WHERE EXISTS (SELECT 1 FROM runs WHERE id = ?1)");
  for (const HistoryRow& row : rows) {
    STRATA_RETURN_IF_ERROR(insert.Bind(1, row.run_id)
                               .Bind(2, row.position)
                               .Bind(3, row.step)
                               .Bind(4, int64_t{row.evaluation})
                               .BindBlob(5, row.payload)
                               .Run());
  }
  for (const RunRecord& run : states) STRATA_RETURN_IF_ERROR(PutState(writer_, run));
  return t.Commit();
}

absl::StatusOr<std::vector<HistoryRow>> Store::ReadHistory(int64_t run_id, int64_t after_position, int64_t from_step,
                                                           int limit) {
  absl::MutexLock lock(&read_mutex_);
  Statement q = reader_.Prepare(
      "SELECT position, step, evaluation, payload FROM history WHERE run_id = ? AND position > ? AND step >= ? ORDER "
      "BY position LIMIT ?");
  q.Bind(1, run_id).Bind(2, after_position).Bind(3, from_step).Bind(4, int64_t{limit});
  std::vector<HistoryRow> rows;
  while (q.Row()) rows.push_back({run_id, q.Int(0), q.Int(1), q.Int(2) != 0, q.Text(3)});
  STRATA_RETURN_IF_ERROR(q.status());
  return rows;
}

absl::StatusOr<HistoryRow> Store::ReadStep(int64_t run_id, int64_t step) {
  absl::MutexLock lock(&read_mutex_);
  Statement q =
      reader_.Prepare("SELECT position, payload FROM history WHERE run_id = ? AND step = ? AND evaluation = 0");
  q.Bind(1, run_id).Bind(2, step);
  if (q.Row()) return HistoryRow{run_id, q.Int(0), step, false, q.Text(1)};
  STRATA_RETURN_IF_ERROR(q.status());
  return absl::NotFoundError(absl::StrCat("run: step ", step, " is not in the history"));
}

absl::StatusOr<HistoryRow> Store::ReadLast(int64_t run_id, bool evaluation) {
  absl::MutexLock lock(&read_mutex_);
  Statement q = reader_.Prepare(
      "SELECT position, step, payload FROM history WHERE run_id = ? AND evaluation = ? ORDER BY position DESC LIMIT 1");
  q.Bind(1, run_id).Bind(2, int64_t{evaluation});
  if (q.Row()) return HistoryRow{run_id, q.Int(0), q.Int(1), evaluation, q.Text(2)};
  STRATA_RETURN_IF_ERROR(q.status());
  return absl::NotFoundError("run: has no history");
}

absl::StatusOr<int64_t> Store::LastPosition(int64_t run_id) {
  absl::MutexLock lock(&read_mutex_);
  Statement q = reader_.Prepare("SELECT coalesce(max(position), 0) FROM history WHERE run_id = ?");
  q.Bind(1, run_id);
  if (q.Row()) return q.Int(0);
  return q.status();
}

absl::Status Store::DropHistoryAfter(int64_t run_id, int64_t step) {
  absl::MutexLock lock(&write_mutex_);
  return DropHistory(writer_, run_id, step);
}

}  // namespace strata::service
