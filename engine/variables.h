// The tensors of a training by name: weights (parameters and buffers), the optimizer's slots, and copies of the weights
// that are kept beside. Addresses stay: compiled steps point to them.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/tensor.h"
#include "engine/graph/graph.h"
#include "engine/train/step.h"

namespace strata {

// Thread-compatible.
class Variables {
 public:
  // `optional`: a loss' weight, which a model that was trained otherwise lacks.
  void AddWeight(const std::string& name, Tensor start, bool optional = false);
  size_t num_weights() const { return weights_.size(); }
  // Adds the slots that do not exist yet.
  void AddSlots(const std::vector<SlotSpec>& slots);

  NamedTensors Weights() const;
  // The weights, but for those that have a moving average.
  NamedTensors AveragedWeights() const;
  // Every name must be a weight with its type and shape; with `strict` every weight must be named.
  absl::Status SetWeights(const NamedTensors& weights, bool strict);

  // What stateful recurrent layers keep from step to step becomes zero. Returns what it was.
  NamedTensors ResetStates();

  // Keeps a copy of the weights as they are, in place of an older one with this label.
  void Keep(const std::string& label);
  bool Keeps(const std::string& label) const { return kept_.count(label) > 0; }
  // Keeps(label).
  const NamedTensors& Kept(const std::string& label) const { return kept_.at(label); }
  void Restore(const std::string& label);

  // A parameter's shape may depend on the batch's shape (Keras' PReLU over a free axis): then only the first shape
  // fits.
  absl::Status CheckGraph(const Graph& graph) const;
  std::vector<void*> PointersFor(const Graph& graph);

  // What Save has put into a checkpoint is what Load takes out of it.
  void Save(NamedTensors* checkpoint) const;
  // INVALID_ARGUMENT for missing weights and other shapes. Names that `ignored` returns true for are somebody else's.
  absl::Status Load(const NamedTensors& checkpoint, bool (*ignored)(const std::string& name));

  int64_t bytes() const;

 private:
  bool IsWeight(const std::string& name) const;
  // Whether a weight belongs to a loss that this training does not have: a version may hold it.
  bool IsOfOtherLoss(const std::string& name) const;
  absl::Status CheckWeight(const char* path, const std::string& name, const Tensor& t) const;
  absl::Status CheckSlot(const std::string& name, const Tensor& t) const;
  void Overwrite(const std::string& name, const Tensor& t);

  std::map<std::string, Tensor> all_;  // weights and slots
  std::vector<std::string> weights_;   // names, in order of declaration
  std::set<std::string> optional_;     // of them, losses' own
  std::map<std::string, NamedTensors> kept_;
};

}  // namespace strata
