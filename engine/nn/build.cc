#include "engine/nn/build.h"

#include <algorithm>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"
#include "engine/nn/component.h"
#include "engine/nn/schema.h"
#include "engine/nn/types.h"

namespace strata::nn {
namespace {

Outputs Nothing(Scope& s) { return {Value{s.graph(), -1}}; }

// Where the arguments of a call stand: errors of their number and names are the call's, not the layer's.
std::string ArgsPlace(const std::string& call, std::string_view field) {
  return absl::StrCat(call, call.empty() ? "" : ".", std::string(field));
}

void Refuse(Scope& s, const std::string& message) { s.graph()->Fail(absl::InvalidArgumentError(message)); }

// Refuses an argument whose name is not in `known`: it would be lost without a word.
bool CheckNames(Scope& s, const std::string& call, const Args& args, const std::vector<std::string>& known) {
  for (const auto& [name, value] : args.named) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    Refuse(s, absl::StrCat(ArgsPlace(call, "named_args"), "[\"", name, "\"]: must be ",
                           known.empty() ? absl::StrCat("absent: ", s.place(), " takes no argument by name")
                                         : absl::StrCat("one of ", absl::StrJoin(known, ", "), " for ", s.place()),
                           ", got \"", name, "\""));
    return false;
  }
  return true;
}

// "1 input", "1 to 2 inputs", "2 or more inputs".
std::string CountText(int min, int max) {
  if (max < 0) return absl::StrCat(min, " or more inputs");
  if (min == max) return absl::StrCat(min, min == 1 ? " input" : " inputs");
  return absl::StrCat(min, " to ", max, " inputs");
}

bool CheckCount(Scope& s, const std::string& call, int count, int min, int max) {
  if (count >= min && (max < 0 || count <= max)) return true;
  Refuse(s, absl::StrCat(ArgsPlace(call, "args"), ": must be the ", CountText(min, max), " of ", s.place(), ", got ",
                         count));
  return false;
}

// With Keras' argument `mask` in the place of the mask that the first input carries.
Args WithMask(const Scope& s, Args args) {
  const Annotated mask = args.Named("mask");
  if (!s.pytorch() && mask.value && !args.positional.empty()) args.positional[0].mask = mask;
  return args;
}

// Keras' penalty on every output of a layer: of its message's field, or the one that every layer has.
void PenalizeOutputs(Scope& s, const v1::Layer& layer, const Outputs& out) {
  const google::protobuf::Message& attrs = AttributesOf(layer, KindName(layer));
  const auto* own = attrs.GetDescriptor()->FindFieldByName("activity_regularizer");
  const v1::Regularizer* regularizer = layer.has_activity_regularizer() ? &layer.activity_regularizer() : nullptr;
  if (own != nullptr && attrs.GetReflection()->HasField(attrs, own)) {
    regularizer = static_cast<const v1::Regularizer*>(&attrs.GetReflection()->GetMessage(attrs, own));
  }
  if (regularizer == nullptr) return;
  for (const Annotated& v : out) s.PenalizeActivity(IsFloat(v.value.dtype()), *regularizer, v);
}

}  // namespace

Outputs BuildLayer(Scope& outer, const v1::Layer& layer, const Args& args, const std::string& call) {
  if (!outer.ok()) return Nothing(outer);
  Scope s = outer.At(KindName(layer));
  const int count = static_cast<int>(args.size());
  if (layer.has_model()) {
    const int inputs = layer.model().inputs_size();
    if (!CheckNames(s, call, args, {}) || !CheckCount(s, call, count, inputs, inputs)) return Nothing(s);
    return BuildModel(s, layer.model(), args.positional);
  }
  const Component* component = FindLayer(KindName(layer));
  if (component == nullptr) {
    outer.Fail(absl::StrCat("kind: must be a layer of the catalog, got \"", KindName(layer), "\""));
    return Nothing(s);
  }
  if (!CheckNames(s, call, args, component->named(s.dialect()))) return Nothing(s);
  if (!CheckCount(s, call, count, component->min_inputs(), component->max_inputs())) return Nothing(s);
  for (const Annotated& a : args.positional) {
    if (!a.value) return Nothing(s);
  }
  const Args given = TakeTypes(s, *component, WithMask(s, args));
  if (!s.ok()) return Nothing(s);
  Outputs out = component->build()(s, layer, given);
  s.NameError();
  if (!s.ok()) return Nothing(s);
  if (component->mask() == MaskRule::kPass && count > 0) out[0].mask = given[0].mask;
  if (!s.pytorch()) PenalizeOutputs(s, layer, out);
  return out;
}

Outputs BuildModel(Scope& s, const v1::Model& model, const std::vector<Annotated>& inputs,
                   const CallObserver& observer) {
  std::unordered_map<std::string, Outputs> values;
  for (int i = 0; i < model.inputs_size(); ++i) values[model.inputs(i).name()] = {inputs[i]};
  std::unordered_map<std::string, int> layers;
  for (int i = 0; i < model.layers_size(); ++i) layers[model.layers(i).name()] = i;

  const auto find = [&](const v1::Edge& edge, const std::string& place) -> Annotated {
    const auto it = values.find(edge.call());
    const int count = it == values.end() ? 0 : static_cast<int>(it->second.size());
    if (edge.output() >= 0 && edge.output() < count) return it->second[edge.output()];
    s.Fail(absl::StrCat(place, ".output: must be < ", count, ", the number of outputs of \"", edge.call(), "\", got ",
                        edge.output()));
    return Value{s.graph(), -1};
  };
  for (int c = 0; c < model.calls_size() && s.ok(); ++c) {
    const v1::Call& call = model.calls(c);
    const std::string place = absl::StrCat("calls[", c, "]");
    const auto found = layers.find(call.layer());
    if (found == layers.end()) {
      s.Fail(absl::StrCat(place, ".layer: must name a layer, got \"", call.layer(), "\""));
      break;
    }
    const v1::Layer& layer = model.layers(found->second);
    Args args;
    for (int i = 0; i < call.args_size(); ++i)
      args.positional.push_back(find(call.args(i), absl::StrCat(place, ".args[", i, "]")));
    for (const auto& [name, edge] : call.named_args())
      args.named[name] = find(edge, absl::StrCat(place, ".named_args[\"", name, "\"]"));
    if (!s.ok()) break;
    Scope inner = s.Enter(call.layer(), call.name(), !layer.has_trainable() || layer.trainable(),
                          call.has_training() ? std::optional<bool>(call.training()) : std::nullopt)
                      .At(absl::StrCat("layers[", found->second, "]"));
    Outputs& outputs = values[call.name()] = BuildLayer(inner, layer, args, s.At(place).place());
    if (!s.ok() && call.name() != call.layer()) s.graph()->AppendError(absl::StrCat(" (call \"", call.name(), "\")"));
    if (observer && s.ok()) observer(call, args, outputs);
  }
  if (!s.ok()) return Nothing(s);
  Outputs out;
  for (int i = 0; i < model.outputs_size(); ++i)
    out.push_back(find(model.outputs(i).edge(), absl::StrCat("outputs[", i, "].edge")));
  return out;
}

}  // namespace strata::nn
