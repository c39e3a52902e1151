#include "service/core/training_state.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/core/wire.h"

namespace strata::service {
namespace {

constexpr char kConfig[] = "training_config";  // hexadecimal digits of strata.v1.TrainingConfig

// Number `i` of the session's counters, 0 where there are none.
int64_t Counter(const NamedTensors& tensors, int64_t i) {
  const auto it = tensors.find(checkpoint::kCounters);
  if (it == tensors.end() || it->second.dtype() != DType::kI64 || it->second.num_elements() <= i) return 0;
  return it->second.data<int64_t>()[i];
}

// Updates of a training that began elsewhere; also its steps, as far as anybody knows.
std::optional<int64_t> Elsewhere(const NamedTensors& tensors) {
  const auto it = tensors.find(checkpoint::kUpdates);
  if (it == tensors.end() || it->second.dtype() != DType::kI64 || it->second.num_elements() != 1) return std::nullopt;
  return it->second.data<int64_t>()[0];
}

}  // namespace

int64_t TrainingState::step() const { return Elsewhere(tensors).value_or(Counter(tensors, 0)); }

int64_t UpdatesOf(const NamedTensors& checkpoint) { return Elsewhere(checkpoint).value_or(Counter(checkpoint, 1)); }

TensorFile ToFile(TrainingState state) {
  return {.tensors = std::move(state.tensors),
          .metadata = {{kConfig, absl::BytesToHexString(CanonicalBytes(state.config))}}};
}

absl::StatusOr<TrainingState> TrainingFrom(TensorFile file) {
  TrainingState state;
  const auto config = file.metadata.find(kConfig);
  if (config == file.metadata.end() || !state.config.ParseFromString(absl::HexStringToBytes(config->second))) {
    return absl::DataLossError("store: a version's training configuration is damaged");
  }
  state.tensors = std::move(file.tensors);
  return state;
}

NamedTensors JoinCheckpoint(NamedTensors weights, NamedTensors rest) {
  for (auto& [name, tensor] : weights) rest[absl::StrCat(checkpoint::kWeight, name)] = std::move(tensor);
  return rest;
}

void SplitCheckpoint(NamedTensors checkpoint, NamedTensors* weights, NamedTensors* rest) {
  constexpr absl::string_view kPrefix = checkpoint::kWeight;
  for (auto& [name, tensor] : checkpoint) {
    if (absl::StartsWith(name, kPrefix)) {
      (*weights)[name.substr(kPrefix.size())] = std::move(tensor);
    } else {
      (*rest)[name] = std::move(tensor);
    }
  }
}

std::string CursorOf(const NamedTensors& checkpoint) {
  return nlohmann::json({{"next_sequence", Elsewhere(checkpoint).value_or(Counter(checkpoint, 0)) + 1},
                         {"epoch", Counter(checkpoint, 5) + 1},
                         {"epoch_steps", Counter(checkpoint, 6)}})
      .dump();
}

}  // namespace strata::service
