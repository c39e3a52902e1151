#include "engine/nn/complete.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/status.h"
#include "engine/nn/custom/custom.h"
#include "engine/nn/schema.h"

namespace strata {
namespace nn {
namespace {

// Calls after nested models are written out: a model that calls models twice, 32 deep, has billions.
constexpr int64_t kMaxExpandedCalls = 100000;

// The limits of engine/session.h's ModelLimits on the definition itself.
constexpr int64_t kMaxLayers = 10000;
constexpr int kMaxDepth = 32;

// Counts over the whole tree of models.
struct Totals {
  int64_t layers = 0;
  CallMoves moves;
  const Definitions* definitions = nullptr;  // of the outermost model
};

absl::StatusOr<int64_t> CompleteModel(v1::Dialect dialect, const std::string& path, int depth, Totals* totals,
                                      v1::Model* model);

std::string At(const std::string& path, std::string_view list, int i) {
  return absl::StrCat(path, path.empty() ? "" : ".", absl::string_view(list.data(), list.size()), "[", i, "]");
}

// Names that must differ: of inputs, of layers, ...
class Names {
 public:
  // False if the name was taken.
  bool Take(const std::string& name) { return taken_.insert(name).second; }
  // Takes the first of name, name_1, name_2, ... that was not.
  std::string TakeNext(const std::string& name) {
    int& number = numbers_[name];
    std::string candidate = number == 0 ? name : absl::StrCat(name, "_", number);
    while (!Take(candidate)) candidate = absl::StrCat(name, "_", ++number);
    return candidate;
  }
  const std::set<std::string>& taken() const { return taken_; }

 private:
  std::set<std::string> taken_;
  std::map<std::string, int> numbers_;  // by name: all with smaller numbers are taken
};

absl::Status CompleteInputs(const std::string& path, int depth, v1::Model* model) {
  if (model->inputs().empty()) {
    // The inputs of a nested model have the shapes that its calls pass.
    if (depth == 0) return InvalidArgument(path, path.empty() ? "" : ".", "inputs: must not be empty, got none");
    model->add_inputs();
  }
  Names names;
  for (const v1::Input& input : model->inputs()) {
    if (!input.name().empty()) names.Take(input.name());
  }
  std::set<std::string> seen;
  for (int i = 0; i < model->inputs_size(); ++i) {
    v1::Input* input = model->mutable_inputs(i);
    const std::string at = At(path, "inputs", i);
    if (input->name().empty()) {
      input->set_name(names.TakeNext(model->inputs_size() == 1 ? "input" : absl::StrCat("input_", i + 1)));
    }
    if (!seen.insert(input->name()).second) {
      return InvalidArgument(at, ".name: must be unique, got \"", input->name(), "\"");
    }
    if (input->dtype() == v1::DATA_TYPE_UNSPECIFIED) input->set_dtype(v1::FLOAT32);
    if (!v1::DataType_IsValid(input->dtype())) {
      return InvalidArgument(at, ".dtype: must be a value of DataType, got ", static_cast<int>(input->dtype()));
    }
    for (int d = 0; d < input->shape_size(); ++d) {
      if (input->shape(d) < 1 && input->shape(d) != -1) {
        return InvalidArgument(at, ".shape[", d, "]: must be -1 or >= 1, got ", input->shape(d));
      }
    }
    if (input->has_batch_size() && input->batch_size() < 1) {
      return InvalidArgument(at, ".batch_size: must be >= 1, got ", input->batch_size());
    }
  }
  return absl::OkStatus();
}

absl::Status NameLayers(v1::Dialect dialect, const std::string& path, v1::Model* model) {
  Names names;
  for (int i = 0; i < model->layers_size(); ++i) {
    const std::string& name = model->layers(i).name();
    if (name.empty()) continue;
    const std::string at = At(path, "layers", i);
    if (!names.Take(name)) return InvalidArgument(at, ".name: must be unique, got \"", name, "\"");
    if (dialect == v1::PYTORCH && absl::StrContains(name, ".")) {
      return InvalidArgument(at, ".name: must not contain a dot, got \"", name, "\"");
    }
  }
  for (int i = 0; i < model->layers_size(); ++i) {
    v1::Layer* layer = model->mutable_layers(i);
    if (!layer->name().empty()) continue;
    if (dialect == v1::KERAS) {
      layer->set_name(names.TakeNext(AutomaticName(dialect, *layer)));
    } else {
      layer->set_name(absl::StrCat(i));
      if (!names.Take(layer->name())) {
        return InvalidArgument(At(path, "layers", i), ".name: must be unique, got \"", i, "\"");
      }
    }
  }
  // Otherwise "a/b" of one layer and "b" inside layer "a" would be the same parameter.
  for (auto it = names.taken().begin(); it != names.taken().end(); ++it) {
    const std::string prefix = *it + PathSeparator(dialect);
    const auto next = names.taken().lower_bound(prefix);
    if (next != names.taken().end() && absl::StartsWith(*next, prefix)) {
      return InvalidArgument(path, path.empty() ? "" : ".", "layers: no name may begin with another's and \"",
                             std::string(1, PathSeparator(dialect)), "\", got \"", *next, "\" and \"", *it, "\"");
    }
  }
  return absl::OkStatus();
}

// Layers in order, each on the first output of the one before it; the first one takes all inputs.
void AddDefaultCalls(v1::Model* model) {
  for (int i = 0; i < model->layers_size(); ++i) {
    v1::Call* call = model->add_calls();
    call->set_layer(model->layers(i).name());
    if (i > 0) {
      call->add_args()->set_call(model->layers(i - 1).name());
      continue;
    }
    for (const v1::Input& input : model->inputs()) call->add_args()->set_call(input.name());
  }
}

absl::Status NameCalls(const std::string& path, v1::Model* model) {
  Names names;
  std::set<std::string> layers, used;
  for (const v1::Input& input : model->inputs()) names.Take(input.name());
  for (const v1::Layer& layer : model->layers()) layers.insert(layer.name());
  for (int i = 0; i < model->calls_size(); ++i) {
    const v1::Call& call = model->calls(i);
    if (layers.count(call.layer()) == 0) {
      return InvalidArgument(At(path, "calls", i), ".layer: must name a layer, got \"", call.layer(), "\"");
    }
    used.insert(call.layer());
    if (!call.name().empty() && !names.Take(call.name())) {
      return InvalidArgument(At(path, "calls", i), ".name: must be unique among inputs and calls, got \"", call.name(),
                             "\"");
    }
  }
  for (int i = 0; i < model->layers_size(); ++i) {
    if (used.count(model->layers(i).name()) == 0) {
      return InvalidArgument(At(path, "layers", i), ".name: must be used by a call, got \"", model->layers(i).name(),
                             "\"");
    }
  }
  for (int i = 0; i < model->calls_size(); ++i) {
    v1::Call* call = model->mutable_calls(i);
    if (call->name().empty()) call->set_name(names.TakeNext(call->layer()));
  }
  return absl::OkStatus();
}

absl::Status CheckEdge(const std::string& path, const v1::Edge& edge, const std::map<std::string, int>& calls,
                       const std::set<std::string>& inputs) {
  if (calls.count(edge.call()) == 0 && inputs.count(edge.call()) == 0) {
    return InvalidArgument(path, ".call: must name a call or an input, got \"", edge.call(), "\"");
  }
  const bool is_input = inputs.count(edge.call()) != 0;
  if (edge.output() < 0 || (is_input && edge.output() != 0)) {
    return InvalidArgument(path, ".output: must be ", is_input ? "0 for an input" : ">= 0", ", got ", edge.output());
  }
  return absl::OkStatus();
}

// Checks every reference and puts each call after those whose outputs it takes; calls keep their order where they can.
absl::Status SortCalls(const std::string& path, Totals* totals, v1::Model* model) {
  std::map<std::string, int> position;
  std::set<std::string> inputs;
  for (const v1::Input& input : model->inputs()) inputs.insert(input.name());
  for (int i = 0; i < model->calls_size(); ++i) position[model->calls(i).name()] = i;

  std::vector<std::vector<int>> users(model->calls_size());
  std::vector<int> waiting(model->calls_size(), 0);
  const auto link = [&](int call, const v1::Edge& edge) {
    if (const auto it = position.find(edge.call()); it != position.end()) {
      users[it->second].push_back(call);
      ++waiting[call];
    }
  };
  for (int i = 0; i < model->calls_size(); ++i) {
    const v1::Call& call = model->calls(i);
    const std::string at = At(path, "calls", i);
    if (call.args().empty() && call.named_args().empty()) {
      return InvalidArgument(at, ".args: must not be empty, got none");
    }
    for (int k = 0; k < call.args_size(); ++k) {
      STRATA_RETURN_IF_ERROR(CheckEdge(At(at, "args", k), call.args(k), position, inputs));
      link(i, call.args(k));
    }
    for (const auto& [name, edge] : call.named_args()) {
      STRATA_RETURN_IF_ERROR(CheckEdge(absl::StrCat(at, ".named_args[\"", name, "\"]"), edge, position, inputs));
      link(i, edge);
    }
  }
  std::set<int> ready;
  for (int i = 0; i < model->calls_size(); ++i) {
    if (waiting[i] == 0) ready.insert(i);
  }
  std::vector<int> order;
  while (!ready.empty()) {
    const int i = *ready.begin();
    ready.erase(ready.begin());
    order.push_back(i);
    for (int user : users[i]) {
      if (--waiting[user] == 0) ready.insert(user);
    }
  }
  if (static_cast<int>(order.size()) < model->calls_size()) {
    const auto stuck = std::find_if(waiting.begin(), waiting.end(), [](int n) { return n > 0; }) - waiting.begin();
    return InvalidArgument(At(path, "calls", static_cast<int>(stuck)),
                           ".args: calls must not form a cycle, got one before \"",
                           model->calls(static_cast<int>(stuck)).name(), "\"");
  }
  if (std::is_sorted(order.begin(), order.end())) return absl::OkStatus();
  google::protobuf::RepeatedPtrField<v1::Call> sorted;
  for (int i : order) *sorted.Add() = std::move(*model->mutable_calls(i));
  model->mutable_calls()->Swap(&sorted);
  totals->moves[path] = std::move(order);
  return absl::OkStatus();
}

absl::Status CompleteOutputs(const std::string& path, v1::Model* model) {
  if (model->outputs().empty()) {
    model->add_outputs()->mutable_edge()->set_call(model->calls(model->calls_size() - 1).name());
  }
  std::map<std::string, int> position;
  std::set<std::string> inputs;
  Names names;
  for (const v1::Input& input : model->inputs()) inputs.insert(input.name());
  for (int i = 0; i < model->calls_size(); ++i) position[model->calls(i).name()] = i;
  for (int i = 0; i < model->outputs_size(); ++i) {
    const v1::Output& output = model->outputs(i);
    STRATA_RETURN_IF_ERROR(CheckEdge(At(path, "outputs", i) + ".edge", output.edge(), position, inputs));
    if (!output.name().empty() && !names.Take(output.name())) {
      return InvalidArgument(At(path, "outputs", i), ".name: must be unique, got \"", output.name(), "\"");
    }
  }
  for (int i = 0; i < model->outputs_size(); ++i) {
    v1::Output* output = model->mutable_outputs(i);
    if (output->name().empty()) output->set_name(names.TakeNext(output->edge().call()));
  }
  return absl::OkStatus();
}

// A block becomes the model that it stands for.
absl::Status ExpandLayer(v1::Dialect dialect, const std::string& at, const Totals& totals, v1::Layer* layer) {
  if (!layer->has_custom() || layer->custom().definition().kind() != v1::CustomComponent::BLOCK) {
    return absl::OkStatus();
  }
  const std::string path = at + ".custom";
  STRATA_RETURN_IF_ERROR(CompleteUse(dialect, path, layer->mutable_custom()));
  STRATA_ASSIGN_OR_RETURN(v1::Model model, ExpandBlock(path, layer->custom()));
  // Uses inside it.
  STRATA_RETURN_IF_ERROR(Resolve(*totals.definitions, &model));
  *layer->mutable_model() = std::move(model);
  return absl::OkStatus();
}

// Attributes of every layer; nested models. Returns the number of calls with nested models written out.
absl::StatusOr<int64_t> CompleteLayers(v1::Dialect dialect, const std::string& path, int depth, Totals* totals,
                                       v1::Model* model) {
  std::map<std::string, int64_t> cost;
  for (int i = 0; i < model->layers_size(); ++i) {
    v1::Layer* layer = model->mutable_layers(i);
    const std::string at = At(path, "layers", i);
    int64_t calls = 1;
    STRATA_RETURN_IF_ERROR(ExpandLayer(dialect, at, *totals, layer));
    if (layer->kind_case() == v1::Layer::kModel) {
      v1::Model* nested = layer->mutable_model();
      if (nested->dialect() != v1::DIALECT_UNSPECIFIED && nested->dialect() != dialect) {
        return InvalidArgument(at, ".model.dialect: must be the outer model's, ", v1::Dialect_Name(dialect), ", got ",
                               v1::Dialect_Name(nested->dialect()));
      }
      STRATA_ASSIGN_OR_RETURN(calls, CompleteModel(dialect, at + ".model", depth + 1, totals, nested));
    } else {
      STRATA_RETURN_IF_ERROR(Fill(dialect, at, layer));
    }
    cost[layer->name()] = calls;
  }
  int64_t expanded = 0;
  for (const v1::Call& call : model->calls()) expanded += cost[call.layer()];
  if (expanded > kMaxExpandedCalls) {
    return InvalidArgument(path, path.empty() ? "" : ".", "calls: must be <= ", kMaxExpandedCalls,
                           " with nested models written out, got ", expanded);
  }
  return expanded;
}

absl::StatusOr<int64_t> CompleteModel(v1::Dialect dialect, const std::string& path, int depth, Totals* totals,
                                      v1::Model* model) {
  const std::string dot = path.empty() ? "" : path + ".";
  if (depth >= kMaxDepth) {
    return InvalidArgument(dot, "layers: models may be nested ", kMaxDepth, " deep, got more");
  }
  if (depth > 0 && !model->custom_components().empty()) {
    return InvalidArgument(dot, "custom_components: must stand in the outermost model, got ",
                           model->custom_components_size(), " here");
  }
  totals->layers += model->layers_size();
  if (totals->layers > kMaxLayers) {
    return InvalidArgument(dot, "layers: must be <= ", kMaxLayers, " in all, got ", totals->layers);
  }
  model->set_dialect(dialect);
  // A model that only hands its inputs on says so by its outputs.
  if (model->layers().empty() && model->outputs().empty()) {
    return InvalidArgument(dot, "layers: must not be empty, got none");
  }
  STRATA_RETURN_IF_ERROR(CompleteInputs(path, depth, model));
  STRATA_RETURN_IF_ERROR(NameLayers(dialect, path, model));
  if (model->calls().empty()) AddDefaultCalls(model);
  STRATA_RETURN_IF_ERROR(NameCalls(path, model));
  STRATA_RETURN_IF_ERROR(SortCalls(path, totals, model));
  STRATA_RETURN_IF_ERROR(CompleteOutputs(path, model));
  return CompleteLayers(dialect, path, depth, totals, model);
}

}  // namespace

std::string SnakeCase(std::string_view name) {
  const auto upper = [&](size_t i) { return i < name.size() && std::isupper(static_cast<unsigned char>(name[i])); };
  const auto lower = [&](size_t i) { return i < name.size() && std::islower(static_cast<unsigned char>(name[i])); };
  const auto digit = [&](size_t i) { return i < name.size() && std::isdigit(static_cast<unsigned char>(name[i])); };
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    // A word begins at a capital before small letters or digits, or after a small letter: RepeatVector, ReLU, Conv2D.
    if (i > 0 && upper(i) && (lower(i + 1) || digit(i + 1) || lower(i - 1)) && name[i - 1] != '_') out += '_';
    out += static_cast<char>(std::tolower(static_cast<unsigned char>(name[i])));
  }
  return out;
}

char PathSeparator(v1::Dialect dialect) { return dialect == v1::PYTORCH ? '.' : '/'; }

std::string AutomaticName(v1::Dialect dialect, const v1::Layer& layer) {
  if (layer.kind_case() == v1::Layer::kModel) return layer.model().name().empty() ? "model" : layer.model().name();
  if (layer.has_custom()) {
    const v1::CustomLayer& use = layer.custom();
    return SnakeCase(use.has_definition() ? use.definition().name() : use.component());
  }
  const auto* kind = KindOf(layer);
  if (kind == nullptr) return "layer";
  const v1::ComponentSchema& schema = SchemaOfComponent(kind);
  const auto& classes = dialect == v1::KERAS ? schema.keras() : schema.pytorch();
  return classes.empty() ? kind->name() : SnakeCase(classes[0]);
}

}  // namespace nn

absl::StatusOr<v1::Model> Complete(const v1::Model& model) {
  nn::CallMoves moves;
  return nn::Complete(model, &moves);
}

absl::StatusOr<v1::Model> nn::Complete(const v1::Model& model, CallMoves* moves) {
  v1::Model complete = model;
  if (model.dialect() != v1::PYTORCH && model.dialect() != v1::KERAS) {
    return InvalidArgument("dialect: must be PYTORCH or KERAS, got ", static_cast<int>(model.dialect()));
  }
  STRATA_RETURN_IF_ERROR(
      nn::CompleteDefinitions(model.dialect(), "custom_components", complete.mutable_custom_components()));
  const nn::Definitions definitions = complete.custom_components();
  STRATA_RETURN_IF_ERROR(nn::Resolve(definitions, &complete));
  nn::Totals totals;
  totals.definitions = &definitions;
  STRATA_ASSIGN_OR_RETURN([[maybe_unused]] const int64_t calls,
                          nn::CompleteModel(model.dialect(), "", 0, &totals, &complete));
  *moves = std::move(totals.moves);
  return complete;
}

absl::Status nn::WithGivenCalls(const CallMoves& moves, const absl::Status& status) {
  for (const auto& [path, given] : moves) {
    const std::string prefix = absl::StrCat(path, path.empty() ? "" : ".", "calls[");
    absl::string_view rest = status.message();
    if (!absl::ConsumePrefix(&rest, prefix)) continue;
    size_t sorted = 0;
    const size_t end = rest.find(']');
    if (end == rest.npos || !absl::SimpleAtoi(rest.substr(0, end), &sorted) || sorted >= given.size()) continue;
    return absl::Status(status.code(), absl::StrCat(prefix, given[sorted], rest.substr(end)));
  }
  return status;
}

}  // namespace strata
