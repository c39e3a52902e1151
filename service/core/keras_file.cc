#include "service/core/keras_file.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "engine/base/status.h"
#include "service/core/keras_paths.h"
#include "service/core/state_dict.h"
#include "service/files/containers.h"

namespace strata::service {
namespace {

using Json = nlohmann::json;

std::string Text(const TensorFile& file, const std::string& key) {
  const auto it = file.metadata.find(key);
  if (it == file.metadata.end()) return "";
  const Json json = Json::parse(it->second, nullptr, false);
  return json.is_string() ? json.get<std::string>() : "";
}

std::string Join(const std::string& group, const std::string& name) {
  return group.empty() ? name : absl::StrCat(group, "/", name);
}

// A layer's parameters as Keras lists them in files of the older layout: trained ones first.
std::vector<const ParameterSpec*> TrainedFirst(const std::vector<const ParameterSpec*>& all) {
  std::vector<const ParameterSpec*> sorted = all;
  std::stable_partition(sorted.begin(), sorted.end(),
                        [](const ParameterSpec* p) { return p->trainable && !p->buffer; });
  return sorted;
}

// Moves a tensor of the file among the weights: no two weights can be the same tensor.
absl::Status Take(const std::string& layer, const std::string& name, NamedTensors::iterator it, const ParameterSpec& p,
                  TensorFile* file, NamedTensors* weights) {
  if (it->second.shape() != p.shape) {
    return InvalidArgument(layer, ".", name, ": must have shape ", ShapeString(p.shape), " (", p.name, "), got ",
                           ShapeString(it->second.shape()));
  }
  (*weights)[p.name] = AsWeight(std::move(it->second));
  file->tensors.erase(it);
  return absl::OkStatus();
}

absl::StatusOr<NamedTensors> FromLayers(const v1::Model& model, const std::vector<ParameterSpec>& parameters,
                                        TensorFile* file, const std::string& root) {
  NamedTensors weights;
  for (const LayerParameters& layer : ParametersByLayer(model, parameters)) {
    const std::vector<const ParameterSpec*> wanted = TrainedFirst(layer.parameters);
    const std::string group = Join(root, layer.layer->name());
    bool found = false;
    const std::vector<std::string> names = TextList(*file, group, "weight_names", &found);
    if (names.size() != wanted.size()) {
      return InvalidArgument(layer.layer->name(), ": must have ", wanted.size(), " weights in the file, got ",
                             names.size());
    }
    for (size_t i = 0; i < names.size(); ++i) {
      const auto it = file->tensors.find(Join(group, names[i]));
      if (it == file->tensors.end()) {
        return absl::DataLossError(absl::StrCat(layer.layer->name(), ".", names[i], ": is listed and not in the file"));
      }
      STRATA_RETURN_IF_ERROR(Take(layer.layer->name(), names[i], it, *wanted[i], file, &weights));
    }
  }
  return weights;
}

absl::StatusOr<NamedTensors> FromPaths(const v1::Model& model, const std::vector<ParameterSpec>& parameters,
                                       TensorFile* file) {
  NamedTensors weights;
  STRATA_ASSIGN_OR_RETURN(const std::vector<WeightPath> paths, PathsOf(model, parameters));
  for (const WeightPath& path : paths) {
    auto it = file->tensors.find(path.path);
    // Older releases have another name for the same container.
    if (it == file->tensors.end() && absl::StartsWith(path.path, "layers/")) {
      it = file->tensors.find(absl::StrCat("_layer_checkpoint_dependencies/", path.path.substr(7)));
    }
    // Keras 3 names a layer's own layers without the underscore.
    if (it == file->tensors.end()) it = file->tensors.find(absl::StrReplaceAll(path.path, {{"/_", "/"}}));
    if (it == file->tensors.end()) {
      return InvalidArgument(path.path, ": must be in the file (it is ", path.parameter->name, "), got nothing");
    }
    STRATA_RETURN_IF_ERROR(Take(path.path, path.parameter->name, it, *path.parameter, file, &weights));
  }
  return weights;
}

}  // namespace

KerasTexts TextsOf(const TensorFile& file) {
  KerasTexts texts;
  texts.architecture = Text(file, absl::StrCat(kAttribute, "@model_config"));
  texts.training = Text(file, absl::StrCat(kAttribute, "@training_config"));
  if (const auto it = file.metadata.find(absl::StrCat(kMember, "config.json")); it != file.metadata.end()) {
    texts.architecture = it->second;
    const Json json = Json::parse(it->second, nullptr, false);
    if (json.is_object() && json.contains("compile_config") && json["compile_config"].is_object()) {
      texts.training = json["compile_config"].dump();
    }
  }
  return texts;
}

std::vector<std::string> TextList(const TensorFile& file, const std::string& group, const std::string& name,
                                  bool* found) {
  std::vector<std::string> list;
  *found = false;
  const auto add = [&](const std::string& attribute) {
    const auto it = file.metadata.find(absl::StrCat(kAttribute, group, "@", attribute));
    if (it == file.metadata.end()) return false;
    *found = true;
    const Json json = Json::parse(it->second, nullptr, false);
    for (const Json& text : json.is_array() ? json : Json::array()) {
      if (text.is_string()) list.push_back(text.get<std::string>());
    }
    return true;
  };
  if (add(name)) return list;
  for (int i = 0; add(absl::StrCat(name, i)); ++i) {
  }
  return list;
}

bool HasPathLayout(const TensorFile& file) {
  return std::any_of(file.tensors.begin(), file.tensors.end(), [](const auto& pair) {
    return absl::StartsWith(pair.first, "layers/") || absl::StartsWith(pair.first, "_layer_checkpoint_dependencies/");
  });
}

absl::StatusOr<NamedTensors> KerasWeights(const v1::Model& model, const std::vector<ParameterSpec>& parameters,
                                          TensorFile* file) {
  if (parameters.empty()) return NamedTensors();
  if (HasPathLayout(*file)) return FromPaths(model, parameters, file);
  for (const char* root : {"model_weights", ""}) {
    bool found = false;
    TextList(*file, root, "layer_names", &found);
    if (found) return FromLayers(model, parameters, file, root);
  }
  return absl::InvalidArgumentError("hdf5: must have layer_names or layers, got neither: no weights of a Keras model");
}

void AddLayerLayout(const v1::Model& model, const std::vector<ParameterSpec>& parameters, NamedTensors weights,
                    const std::string& root, TensorFile* file) {
  const auto attribute = [&](const std::string& group, const char* name, const Json& value) {
    file->metadata[absl::StrCat(kAttribute, group, "@", name)] = value.dump();
  };
  Json layer_names = Json::array();
  for (const v1::Input& input : model.inputs()) {
    layer_names.push_back(input.name());
    attribute(Join(root, input.name()), "weight_names", Json::array());
  }
  for (const LayerParameters& layer : ParametersByLayer(model, parameters)) {
    const std::string& name = layer.layer->name();
    layer_names.push_back(name);
    Json weight_names = Json::array();
    for (const ParameterSpec* p : TrainedFirst(layer.parameters)) {
      const std::string weight = absl::StrCat(p->name, ":0");
      weight_names.push_back(weight);
      file->tensors[absl::StrCat(Join(root, name), "/", weight)] = std::move(weights.at(p->name));
    }
    attribute(Join(root, name), "weight_names", weight_names);
  }
  attribute(root, "layer_names", layer_names);
  attribute(root, "backend", "tensorflow");
  attribute(root, "keras_version", "2.21.0");
}

void AddPathLayout(const v1::Model& model, const std::vector<ParameterSpec>& parameters, NamedTensors weights,
                   TensorFile* file) {
  const auto paths = PathsOf(model, parameters);
  if (!paths.ok()) return;
  for (const WeightPath& path : *paths) file->tensors[path.path] = std::move(weights.at(path.parameter->name));
  // The model's own variables: none, but Keras opens the group.
  file->metadata[absl::StrCat(kGroup, "vars")] = "";
}

}  // namespace strata::service
