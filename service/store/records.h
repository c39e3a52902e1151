// Rows of the registry, as values.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "service/store/files.h"

namespace strata::service {

struct ModelRecord {
  int64_t id = 0;
  std::string name;
  std::string definition;  // strata.v1.Model, canonical bytes
  std::string digest;
  absl::Time created;
  int64_t serving_version = 0;
};

// A custom component that clients may name.
struct ComponentRecord {
  int64_t id = 0;  // grows with registration
  std::string name;
  std::string version;
  std::string definition;  // strata.v1.CustomComponent, canonical bytes
  absl::Time created;
};

struct VersionRecord {
  int64_t model_id = 0;
  int64_t version = 0;
  std::string run;
  int64_t step = 0;
  absl::Time created;
  std::string description;
  FileStamp stamp;
  // What the version came with besides weights: configuration and state of a training. No bytes: nothing.
  FileStamp training;
  bool HasTraining() const { return training.bytes > 0; }
  std::string File() const { return absl::StrCat("versions/", model_id, "-", version, ".safetensors"); }
  std::string TrainingFile() const {
    return absl::StrCat("versions/", model_id, "-", version, ".training.safetensors");
  }
};

struct RunRecord {
  int64_t id = 0;
  std::string name;
  int64_t model_id = 0;
  std::string config;  // strata.v1.TrainingConfig
  int state = 0;       // strata.v1.RunState
  absl::Time created;
  absl::Time updated;
  std::string error;
  // The step of the last checkpoint. Without one the run begins anew from its seed.
  int64_t durable_through = 0;
  FileStamp checkpoint;
  bool HasCheckpoint() const { return checkpoint.bytes > 0; }
  std::string File() const { return absl::StrCat("checkpoints/", id, "-", durable_through, ".safetensors"); }
};

// A step or an evaluation of a run. Positions grow within a run and are never used twice.
struct HistoryRow {
  int64_t run_id = 0;
  int64_t position = 0;
  int64_t step = 0;
  bool evaluation = false;
  std::string payload;
};

}  // namespace strata::service
