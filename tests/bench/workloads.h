// The workloads of tests/peers/workloads.py as definitions and batches.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/tensor.h"
#include "strata/v1/model.pb.h"
#include "strata/v1/training.pb.h"

namespace strata::bench {

struct Workload {
  std::string name;
  v1::Model model;
  v1::TrainingConfig config;
  std::vector<int64_t> train_batches;
};

const std::vector<std::string>& WorkloadNames();
absl::StatusOr<Workload> MakeWorkload(const std::string& name);

// `count` batches of inputs and targets ("target"), as the peers get them. `data` is the folder of Fashion-MNIST's four
// files.
absl::StatusOr<std::vector<NamedTensors>> MakeBatches(const std::string& name, int64_t batch, int count,
                                                      const std::string& data);

// Floating-point operations of one forward pass (train: and of both gradients), products and convolutions only.
double Flops(const std::string& name, int64_t batch, bool train);

}  // namespace strata::bench
