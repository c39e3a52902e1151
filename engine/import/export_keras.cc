// Models as to_json() of tf.keras 2 writes them: the inverse of keras_model.cc.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/chain.h"
#include "engine/features.h"
#include "engine/import/call_shapes.h"
#include "engine/import/component.h"
#include "engine/import/dtypes.h"
#include "engine/import/framework.h"
#include "engine/import/writer.h"
#include "engine/nn/schema.h"
#include "engine/session.h"

namespace strata {
namespace framework {
namespace {

// The release whose form this is.
constexpr char kKerasVersion[] = "2.21.0";

Json InputShape(const v1::Input& input) {
  Json shape = Json::array({input.has_batch_size() ? Json(input.batch_size()) : Json()});
  for (int64_t d : input.shape()) shape.push_back(d < 0 ? Json() : Json(d));
  return shape;
}

Json InputLayer(const v1::Input& input) {
  return KerasObject("keras.layers", "InputLayer",
                     {{"batch_input_shape", InputShape(input)},
                      {"dtype", DataTypeName(input.dtype())},
                      {"sparse", false},
                      {"ragged", false},
                      {"name", input.name()},
                      {"optional", false}});
}

// What build() was called with: the first of tensors that a call takes one by one, or the list of them.
Json BuildShape(const v1::Layer& layer, const CallShapes& call) {
  if (call.args.size() == 1 || layer.has_keras_multi_head_attention()) return WriteShape(call.args[0]);
  Json shapes = Json::array();
  for (const Shape& shape : call.args) shapes.push_back(WriteShape(shape));
  return shapes;
}

// A built layer's axes are counted from the front, and listed.
void SettleAxes(const v1::Layer& layer, const CallShapes& call, Json* config) {
  if (!layer.has_batch_norm() && !layer.has_layer_norm()) return;
  Json& axis = (*config)["axis"];
  if (axis.is_number_integer()) axis = Json::array({axis});
  if (!axis.is_array() || call.args.empty()) return;
  for (Json& a : axis) {
    if (a.is_number_integer() && a.get<int64_t>() < 0) {
      a = a.get<int64_t>() + static_cast<int64_t>(call.args[0].size());
    }
  }
}

absl::StatusOr<Json> ModelConfig(const v1::Model& model, bool sequential, const std::vector<Shape>& inputs);

// The cells of RNN see one step; each after the first, what the one before it puts out.
void AddCellBuild(const v1::Rnn& rnn, const CallShapes& call, Json* config) {
  if (call.args.empty() || call.args[0].size() < 3) return;
  Shape step = call.args[0];
  step.erase(step.begin() + 1);
  Json& cell = (*config)["cell"];
  cell["build_config"] = {{"input_shape", WriteShape(step)}};
  if (cell["class_name"] != "StackedRNNCells") return;
  for (int i = 0; i < rnn.cells_size(); ++i) {
    cell["config"]["cells"][static_cast<size_t>(i)]["build_config"] = {{"input_shape", WriteShape(step)}};
    const v1::Layer& c = rnn.cells(i);
    const int64_t units = c.has_lstm_cell()         ? c.lstm_cell().units()
                          : c.has_gru_cell()        ? c.gru_cell().units()
                          : c.has_simple_rnn_cell() ? c.simple_rnn_cell().units()
                                                    : -1;
    step = {step[0], units};
  }
}

// The inner layer of TimeDistributed sees one step.
void AddInnerBuild(const v1::Layer& layer, const CallShapes& call, Json* config) {
  if (layer.has_rnn()) return AddCellBuild(layer.rnn(), call, config);
  if (!layer.has_time_distributed() || call.args.empty() || call.args[0].size() < 2) return;
  CallShapes step = call;
  step.args[0].erase(step.args[0].begin() + 1);
  Json& inner = (*config)["layer"];
  SettleAxes(layer.time_distributed().layer(), step, &inner["config"]);
  inner["build_config"] = {{"input_shape", BuildShape(layer.time_distributed().layer(), step)}};
}

// What get_config() has only of a layer in a model: the shapes that an attention was built with; and what it leaves
// out, though the layer takes it, a penalty on outputs.
void AddOfModel(const v1::Layer& layer, const CallShapes& call, Json* config) {
  if (layer.has_activity_regularizer()) {
    (*config)["activity_regularizer"] = WriteRegularizer(layer.activity_regularizer());
  }
  if (!layer.has_keras_multi_head_attention() || call.args.size() < 2) return;
  (*config)["query_shape"] = WriteShape(call.args[0]);
  (*config)["value_shape"] = WriteShape(call.args[1]);
  (*config)["key_shape"] = WriteShape(call.args[call.args.size() > 2 ? 2 : 1]);
}

// A layer of a model; `sequential`: the nested model's class.
absl::StatusOr<Json> AnyLayer(const v1::Layer& layer, bool sequential, const CallShapes& call) {
  Json json;
  if (layer.has_model()) {
    v1::Model inner = layer.model();
    inner.set_name(layer.name());
    // Inputs whose shapes the calls decide.
    for (int i = 0; i < inner.inputs_size() && i < static_cast<int>(call.args.size()); ++i) {
      v1::Input* input = inner.mutable_inputs(i);
      if (!input->shape().empty() || call.args[i].empty()) continue;
      input->mutable_shape()->Add(call.args[i].begin() + 1, call.args[i].end());
    }
    STRATA_ASSIGN_OR_RETURN(Json config, ModelConfig(inner, sequential, call.args));
    if (layer.has_trainable() && !layer.trainable()) config["trainable"] = false;
    json = KerasObject("keras", sequential ? "Sequential" : "Functional", std::move(config));
    if (!sequential) json["registered_name"] = "Functional";
  } else {
    STRATA_ASSIGN_OR_RETURN(json, WriteLayer(v1::KERAS, layer));
    SettleAxes(layer, call, &json["config"]);
    AddInnerBuild(layer, call, &json["config"]);
    AddOfModel(layer, call, &json["config"]);
  }
  json["build_config"] = {{"input_shape", BuildShape(layer, call)}};
  return json;
}

// A layer whose call takes its tensors one by one: the first is the input, the others go by name.
std::vector<std::string> ArgumentNames(const v1::Layer& layer) {
  if (layer.has_keras_multi_head_attention()) return {"query", "value", "key"};
  return {};
}

class Writer {
 public:
  explicit Writer(const v1::Model& model) : model_(model) {}

  absl::StatusOr<Json> Sequential(const std::vector<CallShapes>& calls) const {
    Json layers = Json::array();
    const v1::Input& input = model_.inputs(0);
    layers.push_back(InputLayer(input));
    for (int i = 0; i < model_.layers_size(); ++i) {
      const v1::Layer& layer = model_.layers(i);
      STRATA_ASSIGN_OR_RETURN(Json json, AnyLayer(layer, InnerIsSequential(layer), calls[i]));
      // The layer that an `input_shape` was given to; Keras names the input after it.
      if (i == 0 && !layer.has_model() && input.name() == layer.name() + "_input") {
        json["config"]["batch_input_shape"] = InputShape(input);
      }
      layers.push_back(std::move(json));
    }
    return Json{{"name", model_.name()}, {"layers", std::move(layers)}};
  }

  absl::StatusOr<Json> Functional(const std::vector<CallShapes>& calls) {
    NumberNodes();
    Json layers = Json::array();
    for (const v1::Input& input : model_.inputs()) {
      Json json = InputLayer(input);
      json["name"] = input.name();
      json["inbound_nodes"] = Json::array();
      layers.push_back(std::move(json));
    }
    for (const v1::Layer& layer : model_.layers()) {
      Json nodes = Json::array();
      const CallShapes* first = nullptr;
      for (int i = 0; i < model_.calls_size(); ++i) {
        if (model_.calls(i).layer() != layer.name()) continue;
        if (first == nullptr) first = &calls[i];
        STRATA_ASSIGN_OR_RETURN(Json node, Node(layer, model_.calls(i)));
        nodes.push_back(std::move(node));
      }
      if (first == nullptr) continue;  // no call: not part of the graph
      STRATA_ASSIGN_OR_RETURN(Json json, AnyLayer(layer, InnerIsSequential(layer), *first));
      json["name"] = layer.name();
      json["inbound_nodes"] = std::move(nodes);
      layers.push_back(std::move(json));
    }
    // Features are given to the model by name, as to their layer.
    const bool by_name = std::any_of(model_.layers().begin(), model_.layers().end(),
                                     [](const v1::Layer& layer) { return layer.has_dense_features(); });
    Json input_layers = by_name ? Json::object() : Json::array(), output_layers = Json::array();
    for (const v1::Input& input : model_.inputs()) {
      Json reference = {input.name(), 0, 0};
      if (by_name) {
        input_layers[input.name()] = std::move(reference);
      } else {
        input_layers.push_back(std::move(reference));
      }
    }
    for (const v1::Output& output : model_.outputs()) output_layers.push_back(Reference(output.edge()));
    return Json{{"name", model_.name()},
                {"trainable", true},
                {"layers", std::move(layers)},
                {"input_layers", std::move(input_layers)},
                {"output_layers", std::move(output_layers)}};
  }

 private:
  static bool InnerIsSequential(const v1::Layer& layer) { return layer.has_model() && IsSequential(layer.model()); }

 private:
  // Call -> its layer and its number among the layer's calls. A nested model has one node of its own before.
  void NumberNodes() {
    std::map<std::string, int> next;
    for (const v1::Layer& layer : model_.layers()) next[layer.name()] = layer.has_model() ? 1 : 0;
    for (const v1::Call& call : model_.calls()) nodes_[call.name()] = {call.layer(), next[call.layer()]++};
    for (const v1::Input& input : model_.inputs()) nodes_[input.name()] = {input.name(), 0};
  }

  Json Reference(const v1::Edge& edge) const {
    const auto& [layer, node] = nodes_.at(edge.call());
    return Json::array({layer, node, edge.output()});
  }

  absl::StatusOr<Json> FeatureNode(const v1::DenseFeatures& layer, const v1::Call& call) const {
    STRATA_ASSIGN_OR_RETURN(const auto edges, FeatureEdges(absl::StrCat("calls.", call.name()), call, layer));
    Json node = Json::object();
    for (const auto& [key, edge] : edges) {
      node[key] = Reference(edge);
      node[key].push_back(Json::object());
    }
    return node;
  }

  absl::StatusOr<Json> Node(const v1::Layer& layer, const v1::Call& call) const {
    if (layer.has_dense_features()) return FeatureNode(layer.dense_features(), call);
    Json keywords = Json::object();
    for (const auto& [name, edge] : call.named_args()) keywords[name] = Reference(edge);
    if (call.has_training()) keywords["training"] = call.training();
    const auto* kind = nn::KindOf(layer);
    for (const char* flag : {"use_causal_mask", "return_attention_scores"}) {
      const auto& message = layer.GetReflection()->GetMessage(layer, kind);
      const auto* field = message.GetDescriptor()->FindFieldByName(flag);
      if (field != nullptr && message.GetReflection()->GetBool(message, field)) keywords[flag] = true;
    }
    const std::vector<std::string> names = ArgumentNames(layer);
    const int positional = names.empty() ? call.args_size() : std::min(call.args_size(), 1);
    for (int i = positional; i < call.args_size(); ++i) {
      if (i >= static_cast<int>(names.size())) {
        return InvalidArgument("calls.", call.name(), ".args: must be at most ", names.size(), ", got ",
                               call.args_size());
      }
      keywords[names[i]] = Reference(call.args(i));
    }
    Json node = Json::array();
    for (int i = 0; i < positional; ++i) {
      Json tensor = Reference(call.args(i));
      tensor.push_back(keywords);
      node.push_back(std::move(tensor));
    }
    return node;
  }

  const v1::Model& model_;
  std::map<std::string, std::pair<std::string, int>> nodes_;
};

absl::StatusOr<Json> ModelConfig(const v1::Model& model, bool sequential, const std::vector<Shape>& inputs) {
  STRATA_ASSIGN_OR_RETURN(const std::vector<CallShapes> calls, InferCallShapes(model, inputs));
  return sequential ? Writer(model).Sequential(calls) : Writer(model).Functional(calls);
}

}  // namespace

}  // namespace framework

absl::StatusOr<std::string> ExportKeras(const v1::Model& given) {
  STRATA_ASSIGN_OR_RETURN(const v1::Model model, Complete(given));
  if (model.dialect() != v1::KERAS) {
    return InvalidArgument("dialect: must be KERAS, got ", v1::Dialect_Name(model.dialect()));
  }
  const bool sequential = IsSequential(model);
  STRATA_ASSIGN_OR_RETURN(Json config, framework::ModelConfig(model, sequential, framework::DeclaredShapes(model)));
  const Json json = {{"class_name", sequential ? "Sequential" : "Functional"},
                     {"config", std::move(config)},
                     {"keras_version", framework::kKerasVersion},
                     {"backend", "tensorflow"}};
  return json.dump();
}

}  // namespace strata
