// A golden case: one JSON file and one safetensors file of the same name. README.md in cases/ describes the format.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/tensor.h"
#include "strata/v1/schema.pb.h"

namespace strata::parity {

using Json = nlohmann::json;

struct Case {
  std::string path;  // of the JSON file
  std::string row, name, kind;
  v1::Dialect dialect = v1::DIALECT_UNSPECIFIED;
  bool binding = true;
  bool train = false;
  bool computed_in_float32 = false;
  double rtol = 0, atol = 0;
  Json component, call;
  // Null entries of `inputs` are empty names.
  std::vector<std::string> inputs, params, state, outputs, grads, after;
  NamedTensors tensors;

  const Tensor* Find(const std::string& tensor) const {
    const auto it = tensors.find(tensor);
    return it == tensors.end() ? nullptr : &it->second;
  }
  // `component` with every {"tensor": name} replaced by the numbers of the tensor `config.<name>`.
  std::string ComponentText() const;
  std::string Text(const Json& component) const;
};

// INVALID_ARGUMENT names a member or a value that this runner does not know.
absl::StatusOr<Case> ReadCase(const std::string& json_path);

// The JSON files below a directory, sorted.
absl::StatusOr<std::vector<std::string>> FindCases(const std::string& directory);

// A tensor as nested lists.
Json ToJson(const Tensor& tensor);

}  // namespace strata::parity
