#include "service/core/state_dict.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/checkpoint_names.h"
#include "engine/base/status.h"

namespace strata::service {
namespace {

std::string Quoted(const std::vector<std::string>& names) {
  return absl::StrJoin(names, ", ",
                       [](std::string* out, const std::string& n) { absl::StrAppend(out, "\"", n, "\""); });
}

std::string Size(const Shape& shape) { return absl::StrCat("torch.Size([", absl::StrJoin(shape, ", "), "])"); }

}  // namespace

Tensor AsWeight(Tensor tensor) {
  if (!IsFloat(tensor.dtype()) || tensor.dtype() == DType::kF32) return tensor;
  return Cast(tensor.view(), DType::kF32);
}

absl::StatusOr<Matched> MatchStateDict(const std::string& model, const std::vector<ParameterSpec>& parameters,
                                       NamedTensors file, bool strict, const NamedTensors& start) {
  Matched result;
  std::vector<std::string> mismatched;
  for (const ParameterSpec& p : parameters) {
    const auto it = file.find(p.name);
    if (it == file.end()) {
      result.missing.push_back(p.name);
      if (const auto own = start.find(p.name); own != start.end()) result.weights[p.name] = own->second.Clone();
      continue;
    }
    if (it->second.shape() != p.shape) {
      mismatched.push_back(absl::StrCat("size mismatch for ", p.name, ": copying a param with shape ",
                                        Size(it->second.shape()), " from checkpoint, the shape in current model is ",
                                        Size(p.shape), "."));
    } else {
      result.weights[p.name] = AsWeight(std::move(it->second));
    }
    file.erase(it);
  }
  for (auto& [name, tensor] : file) {
    if (checkpoint::IsOfLoss(name)) {
      result.weights[name] = AsWeight(std::move(tensor));
    } else {
      result.unexpected.push_back(name);
    }
  }
  for (const auto& [name, tensor] : start) {
    if (checkpoint::IsOfLoss(name) && result.weights.count(name) == 0) result.weights[name] = tensor.Clone();
  }
  std::vector<std::string> report;
  if (strict && !result.unexpected.empty()) {
    report.push_back(absl::StrCat("Unexpected key(s) in state_dict: ", Quoted(result.unexpected), ". "));
  }
  if (strict && !result.missing.empty()) {
    report.insert(report.begin(), absl::StrCat("Missing key(s) in state_dict: ", Quoted(result.missing), ". "));
  }
  report.insert(report.end(), mismatched.begin(), mismatched.end());
  if (report.empty()) return result;
  return InvalidArgument("Error(s) in loading state_dict for ", model, ":\n\t", absl::StrJoin(report, "\n\t"));
}

}  // namespace strata::service
