// Keras' Bidirectional: a recurrent layer in both directions.
#include "absl/strings/str_cat.h"
#include "engine/nn/build.h"
#include "engine/nn/component.h"
#include "engine/nn/rules.h"
#include "engine/nn/schema.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

void SetFlag(v1::Layer* layer, const char* name, bool value) {
  google::protobuf::Message* m = layer->GetReflection()->MutableMessage(layer, KindOf(*layer));
  const auto* field = m->GetDescriptor()->FindFieldByName(name);
  if (field != nullptr) m->GetReflection()->SetBool(m, field, value);
}

v1::Layer Backwards(const v1::Layer& layer) {
  v1::Layer copy = layer;
  SetFlag(&copy, "go_backwards", !FlagOf(layer, "go_backwards"));
  return copy;
}

Value Merge(const std::string& mode, Value forward, Value backward) {
  if (mode == "sum") return forward + backward;
  if (mode == "mul") return forward * backward;
  if (mode == "ave") return (forward + backward) / 2;
  const Value both[] = {forward, backward};
  return Concat(both, -1);
}

Outputs Build(Scope& s, const v1::Bidirectional& a, const Args& args) {
  // That both are recurrent and agree in their flags is a rule (nn/rules.cc).
  v1::Layer forward = a.layer(), backward = a.has_backward_layer() ? a.backward_layer() : Backwards(a.layer());
  // Sequences of both directions are zero where the input is masked, whatever the layers say.
  const bool sequences = FlagOf(a.layer(), "return_sequences");
  for (v1::Layer* layer : {&forward, &backward}) SetFlag(layer, "zero_output_for_mask", sequences);
  // Initial states: the first half belongs to the forward layer.
  Args forward_args, backward_args;
  forward_args.positional = backward_args.positional = {args[0]};
  if (args.size() % 2 == 0)
    return {s.Fail(absl::StrCat("initial_state: must have states for both directions, got ", args.size() - 1))};
  const size_t half = (args.size() - 1) / 2;
  for (size_t i = 0; i < half; ++i) {
    forward_args.positional.push_back(args[1 + i]);
    backward_args.positional.push_back(args[1 + half + i]);
  }
  Scope forward_scope = s.WithPrefix("forward_").At("layer");
  Scope backward_scope = s.WithPrefix("backward_").At(a.has_backward_layer() ? "backward_layer" : "layer");
  const Outputs y = BuildLayer(forward_scope, forward, forward_args);
  const Outputs z = BuildLayer(backward_scope, backward, backward_args);
  if (!s.ok()) return {Value{s.graph(), -1}};
  // The backward layer gives its outputs in reading order: turn them round.
  const Value forward_value = y[0];
  const Value backward_value = sequences ? Reverse(z[0], {FlagOf(a.layer(), "time_major") ? 0 : 1}) : z[0].value;
  Outputs out;
  if (a.merge_mode() == "none") {
    out = {forward_value, backward_value};
    out[1].mask = y[0].mask;
  } else {
    out = {Merge(a.merge_mode(), forward_value, backward_value)};
  }
  out[0].mask = y[0].mask;
  if (FlagOf(a.layer(), "return_state")) {
    out.insert(out.end(), y.begin() + 1, y.end());
    out.insert(out.end(), z.begin() + 1, z.end());
  }
  return out;
}

}  // namespace

Components Bidirectional() {
  return Layer<v1::Bidirectional>("bidirectional", &Build)
      .Shapes("x[N, T, D] -> y[N, O] or y[N, T, O], ...")
      .Takes(kFloats)
      .Inputs(1, -1)
      .Mask(MaskRule::kConsume)
      .Named(v1::KERAS, {"mask"})
      .With({"layer { lstm { units: 2 } }", {{2, 3, 4}}, v1::KERAS})
      .With({"layer { gru { units: 3 return_sequences: true } } merge_mode: \"ave\"", {{1, 4, 2}}, v1::KERAS})
      .With({"layer { simple_rnn { units: 1 return_sequences: true } } merge_mode: \"none\"", {{2, 2, 1}}, v1::KERAS});
}

}  // namespace strata::nn
