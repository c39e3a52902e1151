#include "engine/nn/build.h"

#include <algorithm>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"
#include "engine/nn/component.h"
#include "engine/nn/schema.h"

namespace strata::nn {
namespace {

Outputs Nothing(Scope& s) { return {Value{s.graph(), -1}}; }

const std::string& KindName(const v1::Layer& layer) {
  static const std::string kNone;
  const auto* kind = KindOf(layer);
  return kind == nullptr ? kNone : kind->name();
}

// Refuses an argument whose name is not in `known`: it would be lost without a word.
bool CheckNames(Scope& s, const Args& args, const std::vector<std::string>& known) {
  for (const auto& [name, value] : args.named) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    s.Fail(absl::StrCat("named_args[\"", name, "\"]: must be ",
                        known.empty() ? "absent: the layer takes no argument by name"
                                      : absl::StrCat("one of ", absl::StrJoin(known, ", ")),
                        ", got \"", name, "\""));
    return false;
  }
  return true;
}

// With Keras' argument `mask` in the place of the mask that the first input carries.
Args WithMask(const Scope& s, Args args) {
  const Annotated mask = args.Named("mask");
  if (!s.pytorch() && mask.value && !args.positional.empty()) args.positional[0].mask = mask;
  return args;
}

// Errors of ops name no layer: put the path before them.
void NameError(Scope& s) {
  if (s.ok() || s.path().empty() || s.graph()->status().code() == absl::StatusCode::kInternal) return;
  if (s.graph()->status().message().find(s.path()) != 0) s.graph()->PrefixError(absl::StrCat(s.path(), ": "));
}

}  // namespace

Outputs BuildLayer(Scope& s, const v1::Layer& layer, const Args& args) {
  if (!s.ok()) return Nothing(s);
  if (layer.has_model()) {
    if (!CheckNames(s, args, {})) return Nothing(s);
    if (static_cast<int>(args.size()) != layer.model().inputs_size()) {
      s.Fail(absl::StrCat("inputs: must be ", layer.model().inputs_size(), ", got ", args.size()));
      return Nothing(s);
    }
    return BuildModel(s, layer.model(), args.positional);
  }
  const Component* component = FindLayer(KindName(layer));
  if (component == nullptr) {
    s.Fail(absl::StrCat("kind: no layer ", KindName(layer)));
    return Nothing(s);
  }
  if (!CheckNames(s, args, component->named(s.dialect()))) return Nothing(s);
  const int count = static_cast<int>(args.size()), max = component->max_inputs();
  if (count < component->min_inputs() || (max >= 0 && count > max)) {
    s.Fail(absl::StrCat("inputs: must be ", component->min_inputs(), max < 0 ? " or more" : absl::StrCat(" to ", max),
                        ", got ", count));
    return Nothing(s);
  }
  for (const Annotated& a : args.positional) {
    if (!a.value) return Nothing(s);
  }
  const Args given = WithMask(s, args);
  Outputs out = component->build()(s, layer, given);
  NameError(s);
  if (!s.ok()) return Nothing(s);
  if (component->mask() == MaskRule::kPass && count > 0) out[0].mask = given[0].mask;
  return out;
}

Outputs BuildModel(Scope& s, const v1::Model& model, const std::vector<Annotated>& inputs,
                   const CallObserver& observer) {
  std::unordered_map<std::string, Outputs> values;
  for (int i = 0; i < model.inputs_size(); ++i) values[model.inputs(i).name()] = {inputs[i]};
  std::unordered_map<std::string, const v1::Layer*> layers;
  for (const v1::Layer& layer : model.layers()) layers[layer.name()] = &layer;

  const auto find = [&](const v1::Edge& edge) -> Annotated {
    const auto it = values.find(edge.call());
    if (it != values.end() && edge.output() >= 0 && edge.output() < static_cast<int>(it->second.size())) {
      return it->second[edge.output()];
    }
    s.Fail(absl::StrCat("outputs: ", edge.call(), " has no output ", edge.output()));
    return Value{s.graph(), -1};
  };
  for (const v1::Call& call : model.calls()) {
    if (!s.ok()) return Nothing(s);
    const auto layer = layers.find(call.layer());
    if (layer == layers.end()) {
      s.Fail(absl::StrCat("calls.", call.name(), ".layer: no layer ", call.layer()));
      return Nothing(s);
    }
    Args args;
    for (const v1::Edge& edge : call.args()) args.positional.push_back(find(edge));
    for (const auto& [name, edge] : call.named_args()) args.named[name] = find(edge);
    if (!s.ok()) return Nothing(s);
    const bool trainable = !layer->second->has_trainable() || layer->second->trainable();
    Scope inner = s.Enter(call.layer(), call.name(), trainable,
                          call.has_training() ? std::optional<bool>(call.training()) : std::nullopt);
    Outputs& outputs = values[call.name()] = BuildLayer(inner, *layer->second, args);
    if (observer && s.ok()) observer(call, args, outputs);
  }
  Outputs out;
  for (const v1::Output& output : model.outputs()) out.push_back(find(output.edge()));
  return out;
}

}  // namespace strata::nn
