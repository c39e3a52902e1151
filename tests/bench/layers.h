// Layers, one at a time: forward and backward in training mode. layers.json says which, in the frameworks' own words;
// the peers' scripts (tests/peers/layers_torch.py, layers_tf.py) read the same file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/tensor.h"
#include "engine/exec/context.h"
#include "strata/v1/schema.pb.h"

namespace strata::bench {

struct LayerCase {
  struct Input {
    Shape shape;
    DType dtype = DType::kF32;
    int64_t below = 0;  // of integers
  };
  std::string name;
  v1::Dialect dialect;
  std::string component;  // {"class_name", "config"} as JSON
  std::vector<Input> inputs;
};

absl::StatusOr<std::vector<LayerCase>> ReadLayerCases(const std::string& path);

// The layer's first output for random inputs, and the gradients of the inputs and parameters under a random cotangent.
class LayerStep {
 public:
  static absl::StatusOr<std::unique_ptr<LayerStep>> Create(const LayerCase& c, int threads);

  void Run();
  void StartProfile() { context_->StartProfile(); }
  std::string Profile() const { return context_->Profile(); }

 private:
  std::unique_ptr<const Plan> plan_;
  std::vector<Tensor> inputs_, variables_;
  std::vector<const void*> pointers_;
  std::unique_ptr<Context> context_;
};

}  // namespace strata::bench
