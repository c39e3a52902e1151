#include "engine/nn/layers/cells.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/custom/custom.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/layers/activations.h"
#include "engine/nn/layers/dropout.h"
#include "engine/nn/layers/gru.h"
#include "engine/nn/layers/lstm.h"
#include "engine/ops/ops.h"

namespace strata::nn {

std::vector<Shape> StateShapes(const v1::Layer& cell, int64_t batch) {
  switch (cell.kind_case()) {
    case v1::Layer::kLstmCell:
      return {{batch, cell.lstm_cell().units()}, {batch, cell.lstm_cell().units()}};
    case v1::Layer::kGruCell:
      return {{batch, cell.gru_cell().units()}};
    case v1::Layer::kSimpleRnnCell:
      return {{batch, cell.simple_rnn_cell().units()}};
    case v1::Layer::kCustom:
      return CustomStateShapes(cell.custom(), batch);
    default:
      return {};
  }
}

int64_t OutputWidth(const v1::Layer& cell) {
  const std::vector<Shape> states = StateShapes(cell, 1);
  return states.empty() ? 0 : states[0].back();
}

namespace {

// Input, states and the products that all cells share.
struct Cell {
  Value x;
  std::vector<Value> states;
  bool unbatched = false;
};

template <typename M>
Cell Enter(Scope& s, const M& a, const Args& args, int num_states) {
  Cell c;
  c.x = args[0];
  c.unbatched = s.pytorch() && c.x.rank() == 1;
  if (c.unbatched) {
    c.x = ExpandDims(c.x, 0);
    s.MixRows();  // axis 0 holds features
  }
  if (c.x.rank() != 2) {
    s.Fail(absl::StrCat("input: must have ", s.pytorch() ? "1 or 2" : "2", " axes, got ",
                        ShapeString(args[0].value.shape())));
    return c;
  }
  if (a.has_input_size() && a.input_size() != c.x.dim(1)) {
    s.Fail(absl::StrCat("input_size|input: must equal the input's last axis, ", a.input_size(), ", got ", c.x.dim(1)));
  }
  const Shape shape{c.x.dim(0), a.units()};
  for (int i = 0; i < num_states; ++i) {
    Value state = static_cast<int>(args.size()) > i + 1 ? args[i + 1].value : Full(s.graph(), 0, shape);
    if (c.unbatched && state.rank() == 1) state = ExpandDims(state, 0);
    if (state.shape() != shape)
      s.Fail(absl::StrCat("hx|states: state ", i, " must have shape ", ShapeString(shape), ", got ",
                          ShapeString(state.shape())));
    c.states.push_back(state);
  }
  return c;
}

// PyTorch's two projections.
struct Projections {
  Value x, h;
};
template <typename M>
Projections PytorchProjections(Scope& s, const M& a, const Cell& c, int64_t gates) {
  const v1::Initializer init = Uniform(1 / std::sqrt(static_cast<double>(a.units())));
  const int64_t rows = gates * a.units();
  Projections p;
  p.x = MatMul(c.x, s.Param("weight_ih", {rows, c.x.dim(1)}, {.initializer = init}), false, true);
  p.h = MatMul(c.states[0], s.Param("weight_hh", {rows, a.units()}, {.initializer = init}), false, true);
  if (a.use_bias()) {
    p.x = p.x + s.Param("bias_ih", {rows}, {.initializer = init});
    p.h = p.h + s.Param("bias_hh", {rows}, {.initializer = init});
  }
  return p;
}

template <typename M>
ParamOptions BiasOptions(const M& a) {
  return {.initializer = a.bias_initializer(),
          .regularizer = a.has_bias_regularizer() ? &a.bias_regularizer() : nullptr,
          .constraint = a.has_bias_constraint() ? &a.bias_constraint() : nullptr};
}

// Keras: the projected input with the bias (its first row, if it has two), the recurrent kernel, the second row.
struct KerasParts {
  Value x, h, kernel, recurrent_bias;
};
template <typename M>
KerasParts KerasProjection(Scope& s, const M& a, const Cell& c, int64_t gates, bool two_biases, ParamOptions bias) {
  const int64_t width = c.x.dim(1), units = a.units();
  KerasParts p;
  const Value kernel = s.Param("kernel", {width, gates * units},
                               {.initializer = a.kernel_initializer(),
                                .regularizer = a.has_kernel_regularizer() ? &a.kernel_regularizer() : nullptr,
                                .constraint = a.has_kernel_constraint() ? &a.kernel_constraint() : nullptr});
  p.kernel = s.Param("recurrent_kernel", {units, gates * units},
                     {.initializer = a.recurrent_initializer(),
                      .regularizer = a.has_recurrent_regularizer() ? &a.recurrent_regularizer() : nullptr,
                      .constraint = a.has_recurrent_constraint() ? &a.recurrent_constraint() : nullptr});
  Value x = c.x;
  p.h = c.states[0];
  if (s.training()) {
    x = DropWith(s, x, a.dropout(), x.shape(), "dropout");
    p.h = DropWith(s, p.h, a.recurrent_dropout(), p.h.shape(), "recurrent_dropout");
  }
  p.x = MatMul(x, kernel);
  if (a.use_bias()) {
    const Value b = s.Param("bias", two_biases ? Shape{2, gates * units} : Shape{gates * units}, std::move(bias));
    p.x = p.x + (two_biases ? Squeeze(SliceAxis(b, 0, 0, 1), 0) : b);
    if (two_biases) p.recurrent_bias = Squeeze(SliceAxis(b, 0, 1, 1), 0);
  }
  return p;
}

// PyTorch puts out the new states, Keras the output before them.
Outputs Finish(Scope& s, const Cell& c, const std::vector<Value>& next) {
  Outputs out;
  if (!s.pytorch()) out.push_back(next[0]);
  for (const Value& v : next) out.push_back(c.unbatched ? Squeeze(v, 0) : v);
  return out;
}

Outputs Nothing(Scope& s) { return Outputs(3, Value{s.graph(), -1}); }

Outputs BuildLstmCell(Scope& s, const v1::LstmCell& a, const Args& args) {
  const Cell c = Enter(s, a, args, 2);
  if (!s.ok()) return Nothing(s);
  if (s.pytorch()) {
    const Projections p = PytorchProjections(s, a, c, 4);
    return Finish(s, c, PytorchLstmStep(p.x + p.h, c.states[1]));
  }
  ParamOptions bias = BiasOptions(a);
  const int64_t units = a.units();
  if (a.unit_forget_bias()) {
    bias.adjust = [units](Tensor* t) {
      for (int64_t i = units; i < 2 * units; ++i) t->Set(i, 1);
    };
  }
  const KerasParts p = KerasProjection(s, a, c, 4, false, std::move(bias));
  return Finish(s, c,
                KerasLstmStep(s, a.activation(), a.recurrent_activation(), p.x + MatMul(p.h, p.kernel), c.states[1]));
}

Outputs BuildGruCell(Scope& s, const v1::GruCell& a, const Args& args) {
  const Cell c = Enter(s, a, args, 1);
  if (!s.ok()) return Nothing(s);
  if (s.pytorch()) {
    const Projections p = PytorchProjections(s, a, c, 3);
    return Finish(s, c, {PytorchGruStep(p.x, p.h, c.states[0])});
  }
  const KerasParts p = KerasProjection(s, a, c, 3, a.reset_after(), BiasOptions(a));
  return Finish(s, c,
                {KerasGruStep(s, a.activation(), a.recurrent_activation(), a.reset_after(), p.x, p.h, p.kernel,
                              p.recurrent_bias)});
}

Outputs BuildSimpleRnnCell(Scope& s, const v1::SimpleRnnCell& a, const Args& args) {
  const Cell c = Enter(s, a, args, 1);
  if (!s.ok()) return Nothing(s);
  if (s.pytorch()) {
    const Projections p = PytorchProjections(s, a, c, 1);
    return Finish(s, c, {a.nonlinearity() == "relu" ? Relu(p.x + p.h) : Tanh(p.x + p.h)});
  }
  const KerasParts p = KerasProjection(s, a, c, 1, false, BiasOptions(a));
  const Value next = Activate(s, a.activation(), p.x + MatMul(p.h, p.kernel));
  return Finish(s, c, {next});
}

}  // namespace

std::vector<Component> CellLayers() {
  std::vector<Component> list;
  const std::string shapes = "x[N, D], h[N, H] -> h'[N, H] (Keras: y[N, H], then the states)";
  list.push_back(Layer<v1::LstmCell>("lstm_cell", &BuildLstmCell)
                     .Shapes(shapes)
                     .Inputs(1, 3)
                     .With("units: 3", {{2, 4}, {2, 3}, {2, 3}})
                     .With("units: 1 use_bias: false", {{3, 2}, {3, 1}, {3, 1}})
                     .With("units: 2", {{1, 5}}));
  list.push_back(Layer<v1::GruCell>("gru_cell", &BuildGruCell)
                     .Shapes(shapes)
                     .Inputs(1, 2)
                     .With("units: 3", {{2, 4}, {2, 3}})
                     .With("units: 1 use_bias: false", {{3, 2}, {3, 1}})
                     .With({"units: 2 reset_after: false", {{1, 5}, {1, 2}}, v1::KERAS}));
  list.push_back(Layer<v1::SimpleRnnCell>("simple_rnn_cell", &BuildSimpleRnnCell)
                     .Shapes(shapes)
                     .Inputs(1, 2)
                     .With("units: 3", {{2, 4}, {2, 3}})
                     .With({"units: 3 nonlinearity: \"relu\"", {{3, 2}, {3, 3}}, v1::PYTORCH})
                     .With("units: 2 use_bias: false", {{1, 5}, {1, 2}}));
  return list;
}

}  // namespace strata::nn
