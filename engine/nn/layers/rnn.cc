// Keras' RNN: a cell, or a stack of cells, over time.
#include "absl/strings/str_cat.h"
#include "engine/nn/build.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/keras_rnn.h"
#include "engine/nn/layers/recurrence.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::Rnn& a, const Args& args) {
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

}  // namespace

Components Rnn() {
  return Layer<v1::Rnn>("rnn", &Build)
      .Shapes("x[N, T, ...], ... -> y[N, H] or y[N, T, H], ...")
      .Takes(kFloats)
      .Inputs(1, -1)
      .Mask(MaskRule::kConsume)
      .Named(v1::KERAS, {"mask"})
      .With({"cells { lstm_cell { units: 3 } }", {{2, 3, 4}}, v1::KERAS})
      .With({"cells { gru_cell { units: 2 } } cells { lstm_cell { units: 3 } } return_sequences: true "
             "return_state: true",
             {{2, 3, 2}},
             v1::KERAS})
      .With(
          {"cells { simple_rnn_cell { units: 1 } } go_backwards: true return_sequences: true", {{1, 4, 2}}, v1::KERAS});
}

}  // namespace strata::nn
