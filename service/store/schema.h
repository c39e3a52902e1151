// Tables of the registry. Times are microseconds since 1970.
#pragma once

namespace strata::service {

inline constexpr int kSchemaVersion = 3;

inline constexpr char kSchema[] = R"sql(
CREATE TABLE models (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  definition BLOB NOT NULL,
  digest TEXT NOT NULL,
  created INTEGER NOT NULL,
  serving_version INTEGER NOT NULL DEFAULT 0,
  last_version INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE versions (
  model_id INTEGER NOT NULL REFERENCES models(id) ON DELETE CASCADE,
  version INTEGER NOT NULL,
  run TEXT NOT NULL,
  step INTEGER NOT NULL,
  created INTEGER NOT NULL,
  description TEXT NOT NULL,
  digest TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (model_id, version)
) WITHOUT ROWID;
CREATE TABLE runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  model_id INTEGER NOT NULL REFERENCES models(id) ON DELETE CASCADE,
  config BLOB NOT NULL,
  state INTEGER NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  error TEXT NOT NULL DEFAULT '',
  durable_through INTEGER NOT NULL DEFAULT 0,
  digest TEXT NOT NULL DEFAULT '',
  bytes INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX runs_by_model ON runs(model_id);
CREATE TABLE history (
  run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  step INTEGER NOT NULL,
  evaluation INTEGER NOT NULL,
  payload BLOB NOT NULL,
  PRIMARY KEY (run_id, position)
) WITHOUT ROWID;
CREATE INDEX history_by_step ON history(run_id, step);
)sql";

// What version 2 added.
inline constexpr char kComponentsSchema[] = R"sql(
CREATE TABLE components (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  definition BLOB NOT NULL,
  created INTEGER NOT NULL,
  UNIQUE (name, version)
);
)sql";

// What version 3 added: a version's training, in a file of its own.
inline constexpr char kVersionTrainingSchema[] = R"sql(
ALTER TABLE versions ADD COLUMN training_digest TEXT NOT NULL DEFAULT '';
ALTER TABLE versions ADD COLUMN training_bytes INTEGER NOT NULL DEFAULT 0;
)sql";

}  // namespace strata::service
