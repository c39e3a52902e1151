// A training configuration from flags, on top of a file if there is one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "strata/v1/model.pb.h"
#include "strata/v1/training.pb.h"

namespace strata::cli {

struct ConfigFlags {
  std::string file;                  // TrainingConfig as JSON
  std::string loss;                  // a member of Loss; default: the dialect's cross entropy on class indices
  std::string optimizer;             // a member of Optimizer; default adam
  std::vector<std::string> metrics;  // members of Metric; default accuracy
  std::optional<double> learning_rate;
  std::optional<double> momentum;
  std::optional<double> weight_decay;
  std::optional<double> clip_norm;
  uint64_t seed = 0;
  int64_t checkpoint_every = 0;

  // Something is asked for.
  bool given() const {
    return !file.empty() || !loss.empty() || !optimizer.empty() || !metrics.empty() || learning_rate.has_value() ||
           momentum.has_value() || weight_decay.has_value() || clip_norm.has_value() || seed != 0 ||
           checkpoint_every != 0;
  }
};

// INVALID_ARGUMENT names the flag and what it may be.
absl::StatusOr<v1::TrainingConfig> MakeConfig(const ConfigFlags& flags, v1::Dialect dialect);

}  // namespace strata::cli
