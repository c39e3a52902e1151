// Trees of torch.nn classes. Sequential is a model; TakeOutput, which picks one of a tuple's outputs, becomes an edge.
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/import/custom.h"
#include "engine/import/framework.h"
#include "engine/import/pytorch_model.h"

namespace strata {
namespace framework {

int NumOutputs(const v1::Layer& layer) {
  switch (layer.kind_case()) {
    case v1::Layer::kLstm:
      return 3;
    case v1::Layer::kGru:
    case v1::Layer::kSimpleRnn:
    case v1::Layer::kLstmCell:
      return 2;
    case v1::Layer::kAdaptiveMaxPool1D:
      return layer.adaptive_max_pool1d().return_indices() ? 2 : 1;
    case v1::Layer::kAdaptiveMaxPool2D:
      return layer.adaptive_max_pool2d().return_indices() ? 2 : 1;
    case v1::Layer::kAdaptiveMaxPool3D:
      return layer.adaptive_max_pool3d().return_indices() ? 2 : 1;
    case v1::Layer::kMaxPool1D:
      return layer.max_pool1d().return_indices() ? 2 : 1;
    case v1::Layer::kMaxPool2D:
      return layer.max_pool2d().return_indices() ? 2 : 1;
    case v1::Layer::kMaxPool3D:
      return layer.max_pool3d().return_indices() ? 2 : 1;
    case v1::Layer::kCustom:
      return NumCustomOutputs(layer.custom());
    case v1::Layer::kModel:
      return std::max(1, layer.model().outputs_size());
    default:
      return 1;
  }
}

namespace {

absl::StatusOr<v1::Model> PytorchSequentialFrom(const std::string& path, const Json& config, int depth,
                                                const std::vector<v1::Input>& inputs);

absl::StatusOr<v1::Layer> PytorchLayerFrom(const std::string& path, const Json& json, int depth) {
  if (Member(json, "class_name") != "Sequential") return LayerFrom(v1::PYTORCH, path, json);
  v1::Layer layer;
  STRATA_ASSIGN_OR_RETURN(const Form form, FormOf(path, json));
  const Json& config = ConfigOf(form);
  STRATA_ASSIGN_OR_RETURN(*layer.mutable_model(), PytorchSequentialFrom(path, config, depth + 1, {}));
  if (json.contains("name")) {
    STRATA_ASSIGN_OR_RETURN(*layer.mutable_name(), JsonString(Below(path, "name"), json["name"]));
  }
  return layer;
}

absl::StatusOr<int64_t> TakenOutput(const std::string& path, const Json& json, int64_t available) {
  STRATA_ASSIGN_OR_RETURN(const Form form, FormOf(path, json));
  const Json& config = ConfigOf(form);
  const std::string at = Below(path, "index");
  STRATA_ASSIGN_OR_RETURN(int64_t index, JsonInt(at, Member(config, "index")));
  if (index < -available || index >= available) {
    return WrongValue(at, absl::StrCat("the number of one of ", available, " outputs"), Member(config, "index"));
  }
  return index < 0 ? index + available : index;
}

absl::StatusOr<v1::Model> PytorchSequentialFrom(const std::string& path, const Json& config, int depth,
                                                const std::vector<v1::Input>& inputs) {
  if (depth >= kMaxModelDepth)
    return InvalidArgument(path, ": models may be nested ", kMaxModelDepth, " deep, got more");
  const Json& layers = Member(config, "layers");
  const std::string list = Below(path, "layers");
  if (!layers.is_array()) return WrongValue(list, "a list", layers);
  v1::Model model;
  model.set_dialect(v1::PYTORCH);
  model.mutable_inputs()->Add(inputs.begin(), inputs.end());
  if (model.inputs().empty()) model.add_inputs();
  if (model.inputs_size() == 1 && model.inputs(0).name().empty()) {
    // Calls and inputs share one space of names.
    std::string name = "input";
    for (const Json& layer : layers) {
      while (Member(layer, "name") == name) name += "_";
    }
    model.mutable_inputs(0)->set_name(name);
  }

  // What the next layer takes: one output of the last call, or the inputs.
  v1::Edge current;
  current.set_call(model.inputs(0).name());
  int available = 1;
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string at = absl::StrCat(list, "[", i, "]");
    if (Member(layers[i], "class_name") == "TakeOutput") {
      STRATA_ASSIGN_OR_RETURN(const int64_t output, TakenOutput(at, layers[i], available));
      current.set_output(static_cast<int32_t>(output));
      available = 1;
      continue;
    }
    STRATA_ASSIGN_OR_RETURN(v1::Layer layer, PytorchLayerFrom(at, layers[i], depth));
    if (layer.name().empty()) layer.set_name(absl::StrCat(i));
    v1::Call* call = model.add_calls();
    call->set_layer(layer.name());
    call->set_name(layer.name());
    if (model.calls_size() == 1) {
      for (const v1::Input& input : model.inputs()) call->add_args()->set_call(input.name());
    } else {
      *call->add_args() = current;
    }
    current.set_call(layer.name());
    current.set_output(0);
    available = NumOutputs(layer);
    *model.add_layers() = std::move(layer);
  }
  for (int i = 0; i < available; ++i) {
    v1::Edge edge = current;
    if (available > 1) edge.set_output(i);
    *model.add_outputs()->mutable_edge() = edge;
  }
  return model;
}

}  // namespace
}  // namespace framework

absl::StatusOr<v1::Model> ImportPytorch(std::string_view text, const std::vector<v1::Input>& inputs,
                                        const Definitions& custom) {
  STRATA_ASSIGN_OR_RETURN(Json json, ParseJson(text));
  json = framework::WithDefinitions(std::move(json), custom, false);
  STRATA_ASSIGN_OR_RETURN(const framework::Form form, framework::FormOf("", json));
  const Json& config = ConfigOf(form);
  if (form.name == "Sequential") return framework::PytorchSequentialFrom("config", config, 0, inputs);
  // A single module is a model of one layer.
  return framework::PytorchSequentialFrom("config", Json{{"layers", Json::array({json})}}, 0, inputs);
}

}  // namespace strata
