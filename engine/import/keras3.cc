#include "engine/import/keras3.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/component.h"

namespace strata::framework {
namespace {

// Arguments that are new, with the value that says nothing. "*" stands for every class, a null value for any.
struct NewArgument {
  const char* of;
  const char* name;
  const char* neutral;
};
constexpr NewArgument kNewArguments[] = {
    {"*", "quantization_config", "null"},
    {"*", "lora_rank", "null"},
    {"*", "lora_alpha", "null"},
    {"*", "input_axes", "null"},
    {"*", "output_axes", "null"},
    {"*", "loss_scale_factor", "null"},
    {"BatchNormalization", "synchronized", "false"},
    {"BatchNormalization", "renorm", "false"},
    {"BatchNormalization", "renorm_clipping", "null"},
    {"BatchNormalization", "renorm_momentum", nullptr},
    {"LayerNormalization", "rms_scaling", "false"},
    {"MultiHeadAttention", "use_gate", "false"},
    {"MultiHeadAttention", "sliding_window", "null"},
    {"MultiHeadAttention", "flash_attention", "null"},
    {"MultiHeadAttention", "seed", nullptr},
    {"Attention", "seed", nullptr},
    {"AdditiveAttention", "seed", nullptr},
    {"LSTM", "seed", nullptr},
    {"GRU", "seed", nullptr},
    {"SimpleRNN", "seed", nullptr},
    {"LSTMCell", "seed", nullptr},
    {"GRUCell", "seed", nullptr},
    {"SimpleRNNCell", "seed", nullptr},
    {"ConvLSTM1D", "seed", nullptr},
    {"ConvLSTM2D", "seed", nullptr},
    {"ConvLSTM3D", "seed", nullptr},
};

bool IsModelClass(const Json& json) {
  const Json& name = Member(json, "class_name");
  return name == "Functional" || name == "Sequential" || name == "Model";
}

bool IsTensorReference(const Json& json) { return Member(json, "class_name") == "__keras_tensor__"; }

// The nodes of one functional model.
class Nodes {
 public:
  Nodes(std::string path, Json* config) : path_(std::move(path)), config_(*config) {}

  absl::Status Convert() {
    Json& layers = config_["layers"];
    for (const Json& layer : layers) {
      const std::string name = NameOf(layer);
      if (IsModelClass(layer)) models_.insert(name);
      if (IsOperation(layer)) masks_.insert(name);
    }
    FindMasks(layers);
    Json kept = Json::array();
    for (size_t i = 0; i < layers.size(); ++i) {
      if (masks_.count(NameOf(layers[i])) != 0) continue;
      Json nodes = Json::array();
      const Json& given = Member(layers[i], "inbound_nodes");
      for (size_t k = 0; k < given.size(); ++k) {
        STRATA_ASSIGN_OR_RETURN(
            Json node, Node(absl::StrCat(Below(path_, "layers"), "[", i, "].inbound_nodes[", k, "]"), given[k]));
        nodes.push_back(std::move(node));
      }
      kept.push_back(layers[i]);
      kept.back()["inbound_nodes"] = std::move(nodes);
    }
    layers = std::move(kept);
    for (const char* key : {"input_layers", "output_layers"}) {
      if (config_.contains(key)) config_[key] = References(config_[key]);
    }
    return absl::OkStatus();
  }

 private:
  static std::string NameOf(const Json& layer) {
    const Json& own = Member(layer, "name");
    const Json& name = own.is_string() ? own : Member(Member(layer, "config"), "name");
    return name.is_string() ? name.get<std::string>() : "";
  }
  // An operation of keras.ops, of which HDF5 files keep the class alone.
  static bool IsOperation(const Json& layer) {
    static const auto& known =
        *new std::set<std::string>{"NotEqual", "Any", "LogicalAnd", "LogicalOr", "ExpandDims", "Cast"};
    const Json &module = Member(layer, "module"), &name = Member(layer, "class_name");
    if (module.is_string()) return absl::StrContains(module.get<std::string>(), ".ops.");
    return name.is_string() && known.count(name.get<std::string>()) != 0;
  }

  // Names of the layers whose outputs a value holds.
  static void Sources(const Json& value, std::set<std::string>* names) {
    if (IsTensorReference(value)) {
      const Json& history = Member(Member(value, "config"), "keras_history");
      if (history.is_array() && !history.empty() && history[0].is_string()) names->insert(history[0]);
      return;
    }
    if (!value.is_structured()) return;
    for (const Json& item : value) Sources(item, names);
  }

  // Keras 3 writes out how masks are computed. Layers here pass them on by themselves: operations that serve nothing
  // but arguments named mask go.
  void FindMasks(const Json& layers) {
    for (bool changed = true; changed && !masks_.empty();) {
      std::set<std::string> needed;
      for (const Json& layer : layers) {
        if (masks_.count(NameOf(layer)) != 0) continue;
        for (const Json& node : Member(layer, "inbound_nodes")) {
          Sources(Member(node, "args"), &needed);
          for (const auto& [key, value] : Member(node, "kwargs").items()) {
            if (key != "mask") Sources(value, &needed);
          }
        }
      }
      for (const Json& reference : References(Member(config_, "output_layers"))) {
        if (reference.is_array() && !reference.empty() && reference[0].is_string()) needed.insert(reference[0]);
      }
      changed = false;
      for (const std::string& name : needed) changed = masks_.erase(name) > 0 || changed;
    }
  }

  // [layer, node, tensor], a list of them, or by name; a nested model has a node of its own before its first call.
  Json References(const Json& value) const {
    if (value.is_object()) {
      Json list = Json::array();
      for (const Json& item : value) list.push_back(References(item));
      return list;
    }
    if (!value.is_array() || value.empty()) return value;
    if (!value[0].is_string()) {
      Json list = Json::array();
      for (const Json& item : value) list.push_back(References(item));
      return list;
    }
    Json reference = value;
    if (reference.size() >= 2 && reference[1].is_number_integer() && models_.count(reference[0]) != 0) {
      reference[1] = reference[1].get<int64_t>() + 1;
    }
    return reference;
  }

  // Tensors as references; other values as they are.
  Json Value(const Json& value) const {
    if (IsTensorReference(value)) return References(Member(Member(value, "config"), "keras_history"));
    if (!value.is_array()) return value;
    Json list = Json::array();
    for (const Json& item : value) list.push_back(Value(item));
    return list;
  }

  absl::Status AddTensors(const std::string& path, const Json& value, Json* node) const {
    if (IsTensorReference(value)) {
      node->push_back(Value(value));
      return absl::OkStatus();
    }
    if (value.is_null()) return absl::OkStatus();
    if (!value.is_array()) {
      return absl::UnimplementedError(absl::StrCat(path, ": must be tensors of the model, got ", Quote(value)));
    }
    for (const Json& item : value) STRATA_RETURN_IF_ERROR(AddTensors(path, item, node));
    return absl::OkStatus();
  }

  absl::StatusOr<Json> Node(const std::string& path, const Json& given) const {
    // Keras 2 has objects too: features by name.
    if (!given.is_object() || !given.contains("args")) return given;
    Json node = Json::array(), keywords = Json::object();
    STRATA_RETURN_IF_ERROR(AddTensors(path + ".args", Member(given, "args"), &node));
    for (const auto& [key, value] : Member(given, "kwargs").items()) {
      std::set<std::string> sources;
      Sources(value, &sources);
      const bool computed = key == "mask" && !sources.empty() && masks_.count(*sources.begin()) != 0;
      // The phase is what the whole model is called with.
      if (value.is_null() || key == "training" || computed) continue;
      // A single argument by its name.
      if (node.empty() && (key == "inputs" || key == "x" || key == "query")) {
        STRATA_RETURN_IF_ERROR(AddTensors(Below(path, key), value, &node));
        continue;
      }
      keywords[key] = Value(value);
    }
    if (node.empty()) return InvalidArgument(path, ".args: must hold a tensor, got ", Quote(given));
    if (!node[0].is_array()) return WrongValue(path + ".args", "tensors with their keras_history", given);
    node[0].push_back(std::move(keywords));
    return node;
  }

  const std::string path_;
  Json& config_;
  std::set<std::string> models_, masks_;
};

// The backward layer of Bidirectional says nothing if it is the forward one turned round.
void DropMirror(Json* config) {
  const Json& forward = Member(*config, "layer");
  Json backward = Member(*config, "backward_layer");
  if (!Member(forward, "config").is_object() || !Member(backward, "config").is_object()) return;
  const auto bare = [](Json layer, bool turn) {
    Json& c = layer["config"];
    c.erase("name");
    if (turn && Member(c, "go_backwards").is_boolean()) c["go_backwards"] = !c["go_backwards"].get<bool>();
    return c;
  };
  if (bare(forward, false) == bare(backward, true)) config->erase("backward_layer");
}

// What is written alike and means something else in Keras 3.
absl::Status SetMeaning(const std::string& path, const std::string& class_name, Json* config) {
  for (const char* argument : {"activation", "recurrent_activation"}) {
    if (Member(*config, argument) != "hard_sigmoid") continue;
    return absl::UnimplementedError(absl::StrCat(Below(path, argument),
                                                 ": must be no hard_sigmoid, which is relu6(x + 3) / 6 in Keras 3 and "
                                                 "clip(0.2 x + 0.5, 0, 1) here, got \"hard_sigmoid\""));
  }
  // The moving variance is the biased one at every rank, masks count, and no epsilon is too small.
  if (class_name == "BatchNormalization") (*config)["fused"] = false;
  return absl::OkStatus();
}

absl::Status CleanConfig(const std::string& path, const std::string& class_name, Json* config) {
  for (const NewArgument& a : kNewArguments) {
    const auto it = config->find(a.name);
    if (it == config->end() || (class_name != a.of && std::string_view(a.of) != "*")) continue;
    if (a.neutral != nullptr && *it != Json::parse(a.neutral)) {
      return absl::UnimplementedError(absl::StrCat(Below(path, a.name), ": must be ", a.neutral, ", got ", Quote(*it)));
    }
    config->erase(a.name);
  }
  // Keras 3 alone writes policies, and both layers whatever the user gave.
  if (class_name == "Bidirectional" && Member(*config, "dtype").is_object()) DropMirror(config);
  const auto dtype = config->find("dtype");
  if (dtype != config->end() && dtype->is_object()) {
    const Json name = Member(Member(*dtype, "config"), "name");
    *dtype = name;
    STRATA_RETURN_IF_ERROR(SetMeaning(path, class_name, config));
  }
  if (class_name == "LeakyReLU" && config->contains("negative_slope")) {
    (*config)["alpha"] = (*config)["negative_slope"];
    config->erase("negative_slope");
  }
  return absl::OkStatus();
}

absl::Status Clean(const std::string& path, Json* json) {
  if (json->is_array()) {
    for (size_t i = 0; i < json->size(); ++i) {
      STRATA_RETURN_IF_ERROR(Clean(absl::StrCat(path, "[", i, "]"), &(*json)[i]));
    }
    return absl::OkStatus();
  }
  if (!json->is_object()) return absl::OkStatus();
  json->erase("shared_object_id");
  for (auto& [key, value] : json->items()) STRATA_RETURN_IF_ERROR(Clean(Below(path, key), &value));
  const Json& name = Member(*json, "class_name");
  if (!name.is_string() || !Member(*json, "config").is_object()) return absl::OkStatus();
  const std::string at = Below(path, "config");
  Json& config = (*json)["config"];
  STRATA_RETURN_IF_ERROR(CleanConfig(at, name.get<std::string>(), &config));
  if (!IsModelClass(*json) || !Member(config, "layers").is_array()) return absl::OkStatus();
  for (const Json& layer : config["layers"]) {
    for (const Json& node : Member(layer, "inbound_nodes")) {
      if (node.is_object()) return Nodes(at, &config).Convert();
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status FromKeras3(Json* json) { return Clean("", json); }

Json TakeAccumulation(Json* optimizer) {
  if (!Member(*optimizer, "config").is_object()) return {};
  Json& config = (*optimizer)["config"];
  Json steps = Member(config, "gradient_accumulation_steps");
  config.erase("gradient_accumulation_steps");
  return steps;
}

}  // namespace strata::framework
