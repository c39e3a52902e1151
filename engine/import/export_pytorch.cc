// Trees of torch.nn classes: the inverse of pytorch_model.cc. An edge from a later output of a call becomes TakeOutput.
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/framework.h"
#include "engine/import/pytorch_model.h"
#include "engine/import/writer.h"
#include "engine/session.h"
#include "engine/summary.h"

namespace strata {
namespace framework {
namespace {

Json TakeOutput(int index) { return {{"class_name", "TakeOutput"}, {"config", {{"index", index}}}}; }

absl::Status NoChain(const std::string& what) {
  return absl::UnimplementedError(absl::StrCat("calls: must be a chain for torch.nn.Sequential, ", what));
}

absl::StatusOr<Json> Tree(const v1::Model& model);

absl::StatusOr<Json> AnyLayer(const v1::Layer& layer) {
  if (!layer.has_model()) return WriteLayer(v1::PYTORCH, layer);
  STRATA_ASSIGN_OR_RETURN(Json json, Tree(layer.model()));
  json["name"] = layer.name();
  return json;
}

absl::StatusOr<Json> Tree(const v1::Model& model) {
  Json layers = Json::array();
  std::string previous;
  int available = 1;
  for (int i = 0; i < model.calls_size(); ++i) {
    const v1::Call& call = model.calls(i);
    if (!call.named_args().empty()) return NoChain(absl::StrCat(call.name(), " has arguments by name"));
    if (i < model.layers_size() && model.layers(i).name() != call.layer()) {
      return NoChain(absl::StrCat(call.name(), " calls its layer out of order"));
    }
    if (i >= model.layers_size()) return NoChain(absl::StrCat(call.name(), " calls its layer again"));
    const bool chained = i == 0 || (call.args_size() == 1 && call.args(0).call() == previous);
    if (!chained) return NoChain(absl::StrCat(call.name(), " takes other values than the call before it"));
    if (i > 0 && (available > 1 || call.args(0).output() != 0)) layers.push_back(TakeOutput(call.args(0).output()));
    STRATA_ASSIGN_OR_RETURN(Json layer, AnyLayer(model.layers(i)));
    if (model.layers(i).name() == absl::StrCat(layers.size())) layer.erase("name");
    layers.push_back(std::move(layer));
    previous = call.name();
    available = NumOutputs(model.layers(i));
  }
  if (model.outputs_size() == 1 && (available > 1 || model.outputs(0).edge().output() != 0)) {
    layers.push_back(TakeOutput(model.outputs(0).edge().output()));
  } else if (model.outputs_size() != 1 && model.outputs_size() != available) {
    return NoChain(absl::StrCat("the last call has ", available, " outputs and the model ", model.outputs_size()));
  }
  for (const v1::Output& output : model.outputs()) {
    if (output.edge().call() != previous) return NoChain(absl::StrCat("output ", output.name(), " is made before"));
  }
  return Json{{"class_name", "Sequential"}, {"config", {{"layers", std::move(layers)}}}};
}

}  // namespace
}  // namespace framework

absl::StatusOr<std::string> ExportPytorch(const v1::Model& given) {
  STRATA_ASSIGN_OR_RETURN(const v1::Model model, WithInputSizes(given));
  if (model.dialect() != v1::PYTORCH) {
    return InvalidArgument("dialect: must be PYTORCH, got ", v1::Dialect_Name(model.dialect()));
  }
  STRATA_ASSIGN_OR_RETURN(const Json json, framework::Tree(model));
  return json.dump();
}

}  // namespace strata
