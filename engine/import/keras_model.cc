// Keras models as to_json() writes them (Keras 2): Sequential, Functional, nested, shared layers.
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/import/custom.h"
#include "engine/import/dtypes.h"
#include "engine/import/feature_columns.h"
#include "engine/import/framework.h"
#include "engine/import/keras3.h"
#include "engine/nn/schema.h"

namespace strata {
namespace framework {
namespace {

bool IsModel(const std::string& class_name) {
  return class_name == "Sequential" || class_name == "Functional" || class_name == "Model";
}

// [null, 28, 28]: the batch axis first.
absl::Status SetShape(const std::string& path, const Json& shape, v1::Input* input) {
  if (!shape.is_array() || shape.empty()) return WrongValue(path, "a shape with its batch axis", shape);
  if (!shape[0].is_null()) {
    STRATA_ASSIGN_OR_RETURN(const int64_t batch, JsonInt(absl::StrCat(path, "[0]"), shape[0]));
    input->set_batch_size(batch);
  }
  for (size_t i = 1; i < shape.size(); ++i) {
    if (shape[i].is_null()) {
      input->add_shape(-1);
      continue;
    }
    STRATA_ASSIGN_OR_RETURN(const int64_t size, JsonInt(absl::StrCat(path, "[", i, "]"), shape[i]));
    input->add_shape(size);
  }
  return absl::OkStatus();
}

// An InputLayer's config, or the input that a first layer's `batch_input_shape` declares.
absl::StatusOr<v1::Input> InputFrom(const std::string& path, const Json& config, const std::string& name) {
  v1::Input input;
  input.set_name(name);
  for (const char* key : {"batch_input_shape", "batch_shape"}) {
    if (config.contains(key)) STRATA_RETURN_IF_ERROR(SetShape(Below(path, key), config[key], &input));
  }
  for (const char* key : {"sparse", "ragged"}) {
    if (Member(config, key) == true) {
      return absl::UnimplementedError(absl::StrCat(Below(path, key), ": must be false, got ", Quote(config[key])));
    }
  }
  if (config.contains("dtype")) {
    STRATA_ASSIGN_OR_RETURN(const v1::DataType type, DataTypeFrom(Below(path, "dtype"), config["dtype"]));
    input.set_dtype(type);
  }
  return input;
}

absl::StatusOr<v1::Model> ModelFrom(const std::string& path, const Json& json, int depth);

absl::StatusOr<std::string> ClassOf(const std::string& path, const Json& json) {
  if (!json.is_object() || !json.contains("class_name")) return WrongValue(path, "an object with class_name", json);
  return JsonString(Below(path, "class_name"), json["class_name"]);
}

// A layer of a model: a component or a nested model, with its name.
absl::StatusOr<v1::Layer> KerasLayerFrom(const std::string& path, const Json& json, int depth) {
  STRATA_ASSIGN_OR_RETURN(const std::string class_name, ClassOf(path, json));
  if (!IsModel(class_name)) return LayerFrom(v1::KERAS, path, json);
  v1::Layer layer;
  STRATA_ASSIGN_OR_RETURN(*layer.mutable_model(), ModelFrom(path, json, depth + 1));
  layer.set_name(layer.model().name());
  const Json& config = json["config"];
  if (Member(config, "trainable") == false) layer.set_trainable(false);
  return layer;
}

// All layers that there is no component for, so that they are told at once.
class Missing {
 public:
  // OK, or an error that ends the reading: anything but a missing component.
  absl::Status Note(const absl::Status& status) {
    if (status.ok() || !IsNoComponent(status)) return status;
    absl::StrAppend(&text_, text_.empty() ? "" : "; ", std::string(status.message()));
    return absl::OkStatus();
  }
  absl::Status status() const { return text_.empty() ? absl::OkStatus() : absl::UnimplementedError(text_); }

 private:
  std::string text_;
};

absl::Status SequentialFrom(const std::string& path, const Json& layers, int depth, v1::Model* model) {
  Missing missing;
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string at = absl::StrCat(path, "[", i, "]");
    STRATA_ASSIGN_OR_RETURN(const std::string class_name, ClassOf(at, layers[i]));
    const Json& config = Member(layers[i], "config");
    if (!config.is_object() && !config.is_array()) return WrongValue(Below(at, "config"), "an object", config);
    if (class_name == "InputLayer") {
      if (i > 0) return WrongValue(at, "a layer behind the first", layers[i]["class_name"]);
      const Json& name = Member(config, "name");
      STRATA_ASSIGN_OR_RETURN(*model->add_inputs(),
                              InputFrom(at, config, name.is_string() ? name.get<std::string>() : "input_1"));
      continue;
    }
    auto layer = KerasLayerFrom(at, layers[i], depth);
    STRATA_RETURN_IF_ERROR(missing.Note(layer.status()));
    *model->add_layers() = layer.ok() ? *std::move(layer) : v1::Layer();
    if (model->inputs().empty() && config.is_object() && config.contains("batch_input_shape")) {
      const std::string& name = model->layers(0).name();
      Json input = {{"batch_input_shape", config["batch_input_shape"]}};
      // Ids are whole numbers whatever the layer's own type is; Keras casts them.
      STRATA_ASSIGN_OR_RETURN(*model->add_inputs(), InputFrom(at, input, name.empty() ? "" : name + "_input"));
    }
  }
  STRATA_RETURN_IF_ERROR(missing.status());
  // A model of feature columns takes them by name.
  if (model->inputs().empty() && !model->layers().empty() && model->layers(0).has_dense_features()) {
    std::map<std::string, v1::Input> inputs;
    for (const auto& column : model->layers(0).dense_features().feature_columns()) AddFeatureInputs(column, &inputs);
    for (const auto& [key, input] : inputs) *model->add_inputs() = input;
  }
  if (model->layers().empty()) {
    if (model->inputs().empty()) return WrongValue(path, "a list with a layer", layers);
    model->add_outputs()->mutable_edge()->set_call(model->inputs(0).name());
  }
  return absl::OkStatus();
}

// The graph of a functional model while it is read.
class Functional {
 public:
  Functional(std::string path, int depth, v1::Model* model) : path_(std::move(path)), depth_(depth), model_(model) {}

  absl::Status Read(const Json& config) {
    const auto layers = config.find("layers");
    if (layers == config.end() || !layers->is_array()) return WrongValue(Below(path_, "layers"), "a list", config);
    STRATA_RETURN_IF_ERROR(ReadLayers(*layers));
    STRATA_RETURN_IF_ERROR(ReadCalls(*layers));
    STRATA_RETURN_IF_ERROR(OrderInputs(Member(config, "input_layers")));
    return ReadOutputs(Member(config, "output_layers"));
  }

 private:
  struct Entry {
    bool input = false;
    int first_node = 0;              // number of the first call: a nested model has one of its own before
    std::vector<std::string> calls;  // names of the calls, in order
    int layer = -1;                  // in the model
  };

  absl::Status ReadLayers(const Json& layers) {
    Missing missing;
    for (size_t i = 0; i < layers.size(); ++i) {
      const std::string at = absl::StrCat(Below(path_, "layers"), "[", i, "]");
      STRATA_ASSIGN_OR_RETURN(const std::string class_name, ClassOf(at, layers[i]));
      const Json& config = Member(layers[i], "config");
      const Json& name = layers[i].contains("name") ? layers[i]["name"] : Member(config, "name");
      STRATA_ASSIGN_OR_RETURN(const std::string key, JsonString(Below(at, "name"), name));
      Entry entry;
      const Json& nodes = Member(layers[i], "inbound_nodes");
      if (!nodes.is_array() && !nodes.is_null()) return WrongValue(Below(at, "inbound_nodes"), "a list", nodes);
      if (class_name == "InputLayer") {
        entry.input = true;
        entry.calls = {key};
        STRATA_ASSIGN_OR_RETURN(inputs_[key], InputFrom(at, config, key));
      } else {
        auto read = KerasLayerFrom(at, layers[i], depth_);
        STRATA_RETURN_IF_ERROR(missing.Note(read.status()));
        v1::Layer layer = read.ok() ? *std::move(read) : v1::Layer();
        layer.set_name(key);
        entry.first_node = IsModel(class_name) ? 1 : 0;
        entry.layer = model_->layers_size();
        *model_->add_layers() = std::move(layer);
      }
      if (!entries_.emplace(key, entry).second) return WrongValue(Below(at, "name"), "unique", name);
      names_.insert(key);
    }
    return missing.status();
  }

  // Calls may name later calls of any layer, so all are named before any argument is read.
  absl::Status ReadCalls(const Json& layers) {
    for (const Json& layer : layers) {
      Entry& entry = EntryOf(layer);
      const Json& nodes = Member(layer, "inbound_nodes");
      for (size_t i = 0; i < nodes.size() && !entry.input; ++i) {
        std::string name = model_->layers(entry.layer).name();
        const std::string base = name;
        for (int k = static_cast<int>(i); i > 0 && !names_.insert(name).second; ++k) name = absl::StrCat(base, "_", k);
        entry.calls.push_back(name);
      }
    }
    for (size_t i = 0; i < layers.size(); ++i) {
      const Entry& entry = EntryOf(layers[i]);
      if (entry.input) continue;
      const Json& nodes = Member(layers[i], "inbound_nodes");
      for (size_t k = 0; k < nodes.size(); ++k) {
        v1::Call* call = model_->add_calls();
        call->set_layer(model_->layers(entry.layer).name());
        call->set_name(entry.calls[k]);
        STRATA_RETURN_IF_ERROR(
            ReadNode(absl::StrCat(Below(path_, "layers"), "[", i, "].inbound_nodes[", k, "]"), nodes[k], call));
        OrderArguments(model_->layers(entry.layer), call);
      }
    }
    return absl::OkStatus();
  }

  Entry& EntryOf(const Json& layer) {
    const Json& own = Member(layer, "name");
    return entries_[(own.is_null() ? Member(Member(layer, "config"), "name") : own).get<std::string>()];
  }

  // MultiHeadAttention's value and key follow its query here.
  static void OrderArguments(const v1::Layer& layer, v1::Call* call) {
    if (!layer.has_keras_multi_head_attention()) return;
    for (const char* name : {"value", "key"}) {
      const auto it = call->named_args().find(name);
      if (it == call->named_args().end()) continue;
      *call->add_args() = it->second;
      call->mutable_named_args()->erase(name);
    }
  }

  // [[layer, node, tensor, {keyword: value}], ...]: one entry per tensor.
  // Of DenseFeatures: {feature: [layer, node, tensor], ...}.
  absl::Status ReadNode(const std::string& path, const Json& node, v1::Call* call) {
    if (node.is_object() && !node.empty()) {
      for (const auto& [key, tensor] : node.items()) {
        STRATA_RETURN_IF_ERROR(ReadEdge(Below(path, key), tensor, &(*call->mutable_named_args())[key]));
      }
      return absl::OkStatus();
    }
    if (!node.is_array() || node.empty()) return WrongValue(path, "a list of tensors", node);
    for (size_t i = 0; i < node.size(); ++i) {
      const std::string at = absl::StrCat(path, "[", i, "]");
      STRATA_RETURN_IF_ERROR(ReadEdge(at, node[i], call->add_args()));
      if (node[i].size() > 3) STRATA_RETURN_IF_ERROR(ReadKeywords(absl::StrCat(at, "[3]"), node[i][3], call));
    }
    return absl::OkStatus();
  }

  absl::Status ReadEdge(const std::string& path, const Json& tensor, v1::Edge* edge) {
    if (!tensor.is_array() || tensor.size() < 3 || !tensor[0].is_string()) {
      return WrongValue(path, "[layer, node, tensor]", tensor);
    }
    STRATA_ASSIGN_OR_RETURN(const int64_t node, JsonInt(path + "[1]", tensor[1]));
    STRATA_ASSIGN_OR_RETURN(const int64_t output, JsonInt(path + "[2]", tensor[2]));
    const auto entry = entries_.find(tensor[0].get<std::string>());
    if (entry == entries_.end()) return WrongValue(path + "[0]", "the name of a layer", tensor[0]);
    const int64_t call = node - entry->second.first_node;
    if (call < 0 || call >= static_cast<int64_t>(entry->second.calls.size())) {
      return WrongValue(path + "[1]", "the number of a call", tensor[1]);
    }
    if (output < 0 || output > INT32_MAX) return WrongValue(path + "[2]", "the number of an output", tensor[2]);
    edge->set_call(entry->second.calls[call]);
    edge->set_output(static_cast<int32_t>(output));
    return absl::OkStatus();
  }

  bool IsTensor(const Json& value) const {
    return value.is_array() && value.size() >= 3 && value[0].is_string() && value[1].is_number_integer() &&
           entries_.count(value[0].get<std::string>()) != 0;
  }

  // Flags of a call that are fields of the layer here.
  bool SetFlag(const std::string& key, bool value, const v1::Call* call) {
    for (v1::Layer& layer : *model_->mutable_layers()) {
      const auto* kind = nn::KindOf(layer);
      if (layer.name() != call->layer() || kind == nullptr) continue;
      google::protobuf::Message* attributes = layer.GetReflection()->MutableMessage(&layer, kind);
      const auto* field = attributes->GetDescriptor()->FindFieldByName(
          key == "use_causal_mask" && !layer.has_keras_multi_head_attention() ? "causal" : key);
      if (field == nullptr || field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_BOOL) return false;
      attributes->GetReflection()->SetBool(attributes, field, value);
      return true;
    }
    return false;
  }

  // Arguments of a call by name: tensors, lists of tensors, and the training flag.
  absl::Status ReadKeywords(const std::string& path, const Json& keywords, v1::Call* call) {
    if (keywords.is_null()) return absl::OkStatus();
    if (!keywords.is_object()) return WrongValue(path, "an object", keywords);
    for (const auto& [key, value] : keywords.items()) {
      const std::string at = Below(path, key);
      if (value.is_null()) continue;
      if (key == "training") {
        STRATA_ASSIGN_OR_RETURN(const bool training, JsonBool(at, value));
        call->set_training(training);
      } else if (value.is_boolean() && SetFlag(key, value.get<bool>(), call)) {
        continue;
      } else if (IsTensor(value)) {
        STRATA_RETURN_IF_ERROR(ReadEdge(at, value, &(*call->mutable_named_args())[key]));
      } else if (value.is_array() && !value.empty() && IsTensor(value[0]) && key == "initial_state") {
        for (size_t i = 0; i < value.size(); ++i) {  // states follow the input
          STRATA_RETURN_IF_ERROR(ReadEdge(absl::StrCat(at, "[", i, "]"), value[i], call->add_args()));
        }
      } else {
        return absl::UnimplementedError(absl::StrCat(at, ": must be a tensor of the model, got ", Quote(value)));
      }
    }
    return absl::OkStatus();
  }

  // One reference stands for a list of one, a dictionary of references for the list of its values.
  static Json AsList(const Json& references) {
    if (references.is_object()) {
      Json list = Json::array();
      for (const Json& reference : references) list.push_back(reference);
      return list;
    }
    const bool single = references.is_array() && !references.empty() && references[0].is_string();
    return single ? Json::array({references}) : references;
  }

  absl::Status OrderInputs(const Json& references) {
    const Json list = AsList(references);
    if (!list.is_array()) return WrongValue(Below(path_, "input_layers"), "a list", references);
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string at = absl::StrCat(Below(path_, "input_layers"), "[", i, "]");
      const bool named = list[i].is_array() && !list[i].empty() && list[i][0].is_string();
      const auto it = named ? inputs_.find(list[i][0].get<std::string>()) : inputs_.end();
      if (it == inputs_.end()) return WrongValue(at, "the name of an InputLayer", list[i]);
      *model_->add_inputs() = it->second;
      inputs_.erase(it);
    }
    if (inputs_.empty()) return absl::OkStatus();
    return InvalidArgument(Below(path_, "input_layers"), ": must list every InputLayer, got none of the name ",
                           inputs_.begin()->first);
  }

  absl::Status ReadOutputs(const Json& references) {
    const Json list = AsList(references);
    if (!list.is_array() || list.empty()) return WrongValue(Below(path_, "output_layers"), "a list", references);
    for (size_t i = 0; i < list.size(); ++i) {
      v1::Output* output = model_->add_outputs();
      STRATA_RETURN_IF_ERROR(
          ReadEdge(absl::StrCat(Below(path_, "output_layers"), "[", i, "]"), list[i], output->mutable_edge()));
      // Keras names outputs after their layer.
      std::string name = list[i][0].get<std::string>();
      for (int k = 1; !output_names_.insert(name).second; ++k)
        name = absl::StrCat(list[i][0].get<std::string>(), "_", k);
      output->set_name(name);
    }
    return absl::OkStatus();
  }

  std::string path_;
  int depth_;
  v1::Model* model_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, v1::Input> inputs_;
  std::set<std::string> names_, output_names_;
};

absl::StatusOr<v1::Model> ModelFrom(const std::string& path, const Json& json, int depth) {
  if (depth >= kMaxModelDepth)
    return InvalidArgument(path, ": models may be nested ", kMaxModelDepth, " deep, got more");
  STRATA_ASSIGN_OR_RETURN(const std::string class_name, ClassOf(path, json));
  if (!IsModel(class_name))
    return WrongValue(Below(path, "class_name"), "Sequential or Functional", json["class_name"]);
  v1::Model model;
  model.set_dialect(v1::KERAS);
  const std::string at = Below(path, "config");
  const auto config = json.find("config");
  if (config == json.end()) return InvalidArgument(at, ": must be set, got nothing");
  if (config->is_object() && config->contains("name")) {
    STRATA_ASSIGN_OR_RETURN(*model.mutable_name(), JsonString(Below(at, "name"), (*config)["name"]));
  }
  if (class_name != "Sequential") {
    if (!config->is_object()) return WrongValue(at, "an object", *config);
    model.set_functional(true);
    STRATA_RETURN_IF_ERROR(Functional(at, depth, &model).Read(*config));
    return model;
  }
  const Json layers = config->is_object() ? Member(*config, "layers") : *config;
  if (!layers.is_array()) return WrongValue(Below(at, "layers"), "a list", layers);
  STRATA_RETURN_IF_ERROR(SequentialFrom(Below(at, "layers"), layers, depth, &model));
  return model;
}

}  // namespace
}  // namespace framework

absl::StatusOr<v1::Model> ImportKeras(std::string_view text, const Definitions& custom) {
  STRATA_ASSIGN_OR_RETURN(Json json, ParseJson(text));
  STRATA_RETURN_IF_ERROR(framework::FromKeras3(&json));
  json = framework::WithDefinitions(std::move(json), custom, false);
  return framework::ModelFrom("", json, 0);
}

}  // namespace strata
