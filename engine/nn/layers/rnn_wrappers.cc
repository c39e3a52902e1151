// Keras' wrappers of layers: RNN over a cell or a stack of cells, Bidirectional, TimeDistributed.
#include "absl/strings/str_cat.h"
#include "engine/nn/build.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/cells.h"
#include "engine/nn/layers/keras_rnn.h"
#include "engine/nn/rules.h"
#include "engine/nn/schema.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// ---------------------------------------------------------------------------------------------------------------- RNN

Outputs BuildRnn(Scope& s, const v1::Rnn& a, const Args& args) {
  Value x = args[0];
  if (x.rank() < 3) return {s.Fail(absl::StrCat("input: must have 3 axes or more, got ", ShapeString(x.shape())))};
  if (a.cells().empty()) return {s.Fail("cell|cells: must not be empty, got none")};
  if (!a.time_major()) x = SwapBatchAndTime(x);
  if (a.time_major()) s.MixRows();
  std::vector<Shape> shapes;
  std::vector<size_t> counts;
  for (const v1::Layer& cell : a.cells()) {
    const std::vector<Shape> own = StateShapes(cell, x.dim(1));
    if (own.empty()) return {s.Fail("cell|cells: must be cells, got another layer")};
    counts.push_back(own.size());
    shapes.insert(shapes.end(), own.begin(), own.end());
  }
  Recurrence r;
  r.sequences = {x};
  r.states = KerasStates(s, args, a.stateful(), shapes);
  if (!s.ok()) return {Value{s.graph(), -1}};
  size_t output_state = 0;  // states come before the top cell's
  for (size_t i = 0; i + 1 < counts.size(); ++i) output_state += counts[i];
  r.output_state = output_state;
  // The built-in cells put out a state; others say what they put out.
  r.own_output = a.cells(a.cells_size() - 1).has_custom();
  const bool stacked = a.cells_size() > 1 || a.stacked();
  r.step = [&](Scope& body, const std::vector<Value>& x_t, const std::vector<Value>& states,
               const std::vector<Value>&) {
    std::vector<Value> next;
    Value input = x_t[0];
    size_t first = 0;
    for (int i = 0; i < a.cells_size(); ++i) {
      Scope cell =
          (stacked ? body.WithPrefix(absl::StrCat("cells.", i, ".")) : body).At(absl::StrCat("cells[", i, "]"));
      Args cell_args;
      cell_args.positional.push_back(input);
      for (size_t k = 0; k < counts[i]; ++k) cell_args.positional.push_back(states[first + k]);
      first += counts[i];
      const Outputs out = BuildLayer(cell, a.cells(i), cell_args);
      if (!body.ok() || out.size() != counts[i] + 1) {
        if (body.ok()) {
          body.Fail(absl::StrCat("cell: must put out its output and its ", counts[i], " new states, got ", out.size(),
                                 " values"));
        }
        return std::vector<Value>(states.size() + 1, Value{body.graph(), -1});
      }
      input = out[0];
      for (size_t k = 0; k < counts[i]; ++k) next.push_back(out[k + 1]);
    }
    if (r.own_output) next.push_back(input);
    return next;
  };
  return FinishKerasRnn(s,
                        {a.return_sequences(), a.return_state(), a.go_backwards(), a.stateful(), a.time_major(),
                         a.zero_output_for_mask()},
                        std::move(r), args);
}

// ------------------------------------------------------------------------------------------------------- Bidirectional

std::string KindName(const v1::Layer& layer) {
  const auto* kind = KindOf(layer);
  return kind == nullptr ? "none" : kind->name();
}

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

Outputs BuildBidirectional(Scope& s, const v1::Bidirectional& a, const Args& args) {
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

// ----------------------------------------------------------------------------------------------------- TimeDistributed

Outputs BuildTimeDistributed(Scope& s, const v1::TimeDistributed& a, const Args& args) {
  const Value x = args[0];
  if (const v1::Layer& l = a.layer(); l.has_lstm_cell() || l.has_gru_cell() || l.has_simple_rnn_cell()) {
    return {s.Fail(absl::StrCat("layer|input: must be a layer of one input, got ", KindName(l)))};
  }
  if (x.rank() < 3) return {s.Fail(absl::StrCat("input: must have 3 axes or more, got ", ShapeString(x.shape())))};
  const int64_t batch = x.dim(0), steps = x.dim(1);
  Shape shape(x.shape().begin() + 1, x.shape().end());
  shape[0] = batch * steps;
  Args inner;
  inner.positional.push_back(Reshape(x, shape));
  if (args[0].mask) {
    Shape mask(args[0].mask.shape().begin() + 1, args[0].mask.shape().end());
    mask[0] = batch * steps;
    // A mask of steps is not the layer's; one with further axes is.
    if (mask.size() > 1) inner.positional[0].mask = Reshape(args[0].mask, mask);
  }
  Scope inner_scope = s.At("layer");
  Outputs out = BuildLayer(inner_scope, a.layer(), inner);
  if (!s.ok()) return {Value{s.graph(), -1}};
  for (Annotated& o : out) {
    if (o.value.rank() == 0 || o.value.dim(0) != batch * steps) {
      return {s.Fail(
          absl::StrCat("layer: must keep the batch axis of ", batch * steps, ", got ", ShapeString(o.value.shape())))};
    }
    Shape y = o.value.shape();
    y[0] = steps;
    y.insert(y.begin(), batch);
    o = Reshape(o.value, y);
  }
  out[0].mask = args[0].mask;
  return out;
}

}  // namespace

std::vector<Component> WrapperLayers() {
  std::vector<Component> list;
  list.push_back(Layer<v1::Rnn>("rnn", &BuildRnn)
                     .Shapes("x[N, T, ...] -> y[N, H] or y[N, T, H]")
                     .Inputs(1, -1)
                     .Mask(MaskRule::kConsume)
                     .Named(v1::KERAS, {"mask"})
                     .With({"cells { lstm_cell { units: 3 } }", {{2, 3, 4}}, v1::KERAS})
                     .With({"cells { gru_cell { units: 2 } } cells { lstm_cell { units: 3 } } return_sequences: true "
                            "return_state: true",
                            {{2, 3, 2}},
                            v1::KERAS})
                     .With({"cells { simple_rnn_cell { units: 1 } } go_backwards: true return_sequences: true",
                            {{1, 4, 2}},
                            v1::KERAS}));
  list.push_back(
      Layer<v1::Bidirectional>("bidirectional", &BuildBidirectional)
          .Shapes("x[N, T, D] -> y[N, 2 H] or y[N, T, 2 H]")
          .Inputs(1, -1)
          .Mask(MaskRule::kConsume)
          .Named(v1::KERAS, {"mask"})
          .With({"layer { lstm { units: 2 } }", {{2, 3, 4}}, v1::KERAS})
          .With({"layer { gru { units: 3 return_sequences: true } } merge_mode: \"ave\"", {{1, 4, 2}}, v1::KERAS})
          .With({"layer { simple_rnn { units: 1 return_sequences: true } } merge_mode: \"none\"",
                 {{2, 2, 1}},
                 v1::KERAS}));
  list.push_back(Layer<v1::TimeDistributed>("time_distributed", &BuildTimeDistributed)
                     .Shapes("x[N, T, ...] -> y[N, T, ...]")
                     .Mask(MaskRule::kConsume)
                     .Named(v1::KERAS, {"mask"})
                     .With({"layer { linear { units: 3 } }", {{2, 3, 4}}, v1::KERAS})
                     .With({"layer { conv2d { filters: 2 kernel_size: 2 } }", {{1, 2, 3, 3, 1}}, v1::KERAS})
                     .With({"layer { flatten {} }", {{2, 1, 2, 3}}, v1::KERAS}));
  return list;
}

}  // namespace strata::nn
