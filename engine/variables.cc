#include "engine/variables.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/checkpoint_names.h"
#include "engine/base/status.h"

namespace strata {
namespace {

constexpr absl::string_view kWeightPrefix = checkpoint::kWeight;
constexpr absl::string_view kKeptPrefix = checkpoint::kKept;  // "kept:<label>:<weight>"

}  // namespace

void Variables::AddWeight(const std::string& name, Tensor start, bool optional) {
  all_[name] = std::move(start);
  if (optional) optional_.insert(name);
  weights_.push_back(name);
}

void Variables::AddSlots(const std::vector<SlotSpec>& slots) {
  for (const SlotSpec& slot : slots) {
    if (all_.count(slot.name) > 0) continue;
    if (!slot.copy_of.empty()) {
      all_[slot.name] = all_.at(slot.copy_of).Clone();
      continue;
    }
    Tensor t(DType::kF32, slot.shape);
    if (slot.start != 0) std::fill_n(t.data<float>(), t.num_elements(), static_cast<float>(slot.start));
    all_[slot.name] = std::move(t);
  }
}

NamedTensors Variables::Weights() const {
  NamedTensors out;
  for (const std::string& name : weights_) out[name] = all_.at(name).Clone();
  return out;
}

NamedTensors Variables::AveragedWeights() const {
  NamedTensors out;
  for (const std::string& name : weights_) {
    const auto average = all_.find(SlotName(name, nn::kAverageSlot));
    out[name] = (average == all_.end() ? all_.at(name) : average->second).Clone();
  }
  return out;
}

absl::Status Variables::SetWeights(const NamedTensors& weights, bool strict) {
  for (const auto& [name, t] : weights) {
    if (!IsOfOtherLoss(name)) STRATA_RETURN_IF_ERROR(CheckWeight("weights.", name, t));
  }
  if (strict) {
    for (const std::string& name : weights_) {
      if (weights.count(name) == 0 && optional_.count(name) == 0)
        return InvalidArgument("weights.", name, ": must be given, got nothing");
    }
  }
  for (const auto& [name, t] : weights) {
    if (!IsOfOtherLoss(name)) Overwrite(name, t);
  }
  return absl::OkStatus();
}

NamedTensors Variables::ResetStates() {
  NamedTensors before;
  for (const std::string& name : weights_) {
    if (!checkpoint::IsRecurrentState(name)) continue;
    Tensor& t = all_.at(name);
    before[name] = t.Clone();
    std::memset(t.raw(), 0, t.size_bytes());
  }
  return before;
}

void Variables::Keep(const std::string& label) { kept_[label] = Weights(); }

void Variables::Restore(const std::string& label) {
  for (const auto& [name, t] : kept_.at(label)) Overwrite(name, t);
}

absl::Status Variables::CheckGraph(const Graph& graph) const {
  for (const VariableInfo& v : graph.variables()) {
    const auto it = all_.find(v.name);
    if (it == all_.end() || it->second.shape() != v.shape) {
      return InvalidArgument("tensors: must have the axes that ", v.name, " was made for, ",
                             it == all_.end() ? "none" : ShapeString(it->second.shape()), ", got some that make it ",
                             ShapeString(v.shape));
    }
  }
  return absl::OkStatus();
}

std::vector<void*> Variables::PointersFor(const Graph& graph) {
  std::vector<void*> pointers;
  for (const VariableInfo& v : graph.variables()) pointers.push_back(all_.at(v.name).raw());
  return pointers;
}

void Variables::Save(NamedTensors* checkpoint) const {
  for (const auto& [name, t] : all_)
    (*checkpoint)[IsWeight(name) ? absl::StrCat(kWeightPrefix, name) : name] = t.Clone();
  for (const auto& [label, weights] : kept_) {
    for (const auto& [name, t] : weights) (*checkpoint)[absl::StrCat(kKeptPrefix, label, ":", name)] = t.Clone();
  }
}

absl::Status Variables::Load(const NamedTensors& checkpoint, bool (*ignored)(const std::string& name)) {
  for (const std::string& name : weights_) {
    const auto it = checkpoint.find(absl::StrCat(kWeightPrefix, name));
    if (it == checkpoint.end() && optional_.count(name) > 0) continue;
    if (it == checkpoint.end()) return InvalidArgument("checkpoint.", name, ": must be given, got nothing");
    STRATA_RETURN_IF_ERROR(CheckWeight("checkpoint.", name, it->second));
  }
  std::map<std::string, NamedTensors> kept;
  for (const auto& [name, t] : checkpoint) {
    if (!absl::StartsWith(name, kKeptPrefix)) continue;
    const std::string rest = name.substr(kKeptPrefix.size()), weight = rest.substr(rest.find(':') + 1);
    STRATA_RETURN_IF_ERROR(CheckWeight("checkpoint.", weight, t));
    kept[rest.substr(0, rest.find(':'))][weight] = t.Clone();
  }
  for (const auto& [name, t] : checkpoint) {
    if (ignored(name) || absl::StartsWith(name, kKeptPrefix)) continue;
    if (absl::StartsWith(name, kWeightPrefix)) {
      if (IsOfOtherLoss(name.substr(kWeightPrefix.size()))) continue;
      STRATA_RETURN_IF_ERROR(CheckWeight("checkpoint.", name.substr(kWeightPrefix.size()), t));
    } else {
      STRATA_RETURN_IF_ERROR(CheckSlot(name, t));
    }
  }
  for (const auto& [name, t] : checkpoint) {
    if (ignored(name) || absl::StartsWith(name, kKeptPrefix)) continue;
    if (absl::StartsWith(name, kWeightPrefix)) {
      if (IsOfOtherLoss(name.substr(kWeightPrefix.size()))) continue;
      Overwrite(name.substr(kWeightPrefix.size()), t);
    } else if (all_.count(name) > 0) {
      Overwrite(name, t);
    } else {
      all_[name] = t.Clone();  // a slot of a step that is not compiled yet
    }
  }
  kept_ = std::move(kept);
  return absl::OkStatus();
}

int64_t Variables::bytes() const {
  int64_t bytes = 0;
  const auto add = [&](const auto& tensors) {
    for (const auto& [name, t] : tensors) bytes += static_cast<int64_t>(t.size_bytes());
  };
  add(all_);
  for (const auto& [label, weights] : kept_) add(weights);
  return bytes;
}

bool Variables::IsOfOtherLoss(const std::string& name) const { return checkpoint::IsOfLoss(name) && !IsWeight(name); }

bool Variables::IsWeight(const std::string& name) const {
  return std::find(weights_.begin(), weights_.end(), name) != weights_.end();
}

absl::Status Variables::CheckWeight(const char* path, const std::string& name, const Tensor& t) const {
  const auto it = all_.find(name);
  if (it == all_.end() || !IsWeight(name)) {
    return InvalidArgument(path, name, ": must be a parameter or buffer of the model, got \"", name, "\"");
  }
  if (it->second.shape() == t.shape() && it->second.dtype() == t.dtype()) return absl::OkStatus();
  return InvalidArgument(path, name, ": must be ", DTypeName(it->second.dtype()), ShapeString(it->second.shape()),
                         ", got ", DTypeName(t.dtype()), ShapeString(t.shape()));
}

// Each slot has its parameter's shape.
absl::Status Variables::CheckSlot(const std::string& name, const Tensor& t) const {
  const absl::string_view rest = absl::StripPrefix(name, checkpoint::kSlot);
  const auto it = all_.find(std::string(rest.substr(0, rest.rfind('/'))));
  if (rest.size() == name.size() || it == all_.end()) {
    return InvalidArgument("checkpoint.", name, ": must be a slot of a parameter, got \"", name, "\"");
  }
  if (t.dtype() == DType::kF32 && t.shape() == it->second.shape()) return absl::OkStatus();
  return InvalidArgument("checkpoint.", name, ": must be f32", ShapeString(it->second.shape()), ", got ",
                         DTypeName(t.dtype()), ShapeString(t.shape()));
}

// Keeps the memory: compiled steps point to it.
void Variables::Overwrite(const std::string& name, const Tensor& t) {
  Tensor& mine = all_[name];
  std::copy_n(static_cast<const char*>(t.raw()), t.size_bytes(), static_cast<char*>(mine.raw()));
}

}  // namespace strata
