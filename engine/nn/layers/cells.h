// Cells: layers that make one step of a recurrence. Arguments are the input and the states; outputs are (Keras) the
// output, then the new states. What the built-in cells share; M is one's message.
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/layers/dropout.h"
#include "engine/ops/ops.h"

namespace strata::nn {

// A cell whose message is M, with `count` states [batch, units].
template <typename M>
Component Cell(const std::string& name, Outputs (*build)(Scope&, const M&, const Args&), int count) {
  return Layer<M>(name, build)
      .Shapes(
          "x[N, D], h[N, units], ... -> h'[N, units], ... (PyTorch); "
          "x[N, D], h[N, units], ... -> y[N, units], h'[N, units], ... (Keras)")
      .Takes(kFloats)
      .Inputs(1, 1 + count)
      .States([name, count](const v1::Layer& cell, int64_t batch) {
        const auto& a = static_cast<const M&>(AttributesOf(cell, name));
        return std::vector<Shape>(static_cast<size_t>(count), Shape{batch, a.units()});
      });
}

// The input with a batch axis, and the states.
struct CellStep {
  Value x;
  std::vector<Value> states;
  bool unbatched = false;
};

template <typename M>
CellStep EnterCell(Scope& s, const M& a, const Args& args, int num_states) {
  CellStep c;
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
struct PytorchProjections {
  Value x, h;
};

template <typename M>
PytorchProjections ProjectPytorch(Scope& s, const M& a, const CellStep& c, int64_t gates) {
  const v1::Initializer init = Uniform(1 / std::sqrt(static_cast<double>(a.units())));
  const int64_t rows = gates * a.units();
  PytorchProjections p;
  p.x = MatMul(c.x, s.Param("weight_ih", {rows, c.x.dim(1)}, {.initializer = init}), false, true);
  p.h = MatMul(c.states[0], s.Param("weight_hh", {rows, a.units()}, {.initializer = init}), false, true);
  if (a.use_bias()) {
    p.x = p.x + s.Param("bias_ih", {rows}, {.initializer = init});
    p.h = p.h + s.Param("bias_hh", {rows}, {.initializer = init});
  }
  return p;
}

template <typename M>
ParamOptions CellBias(const M& a) {
  return {.initializer = a.bias_initializer(),
          .regularizer = a.has_bias_regularizer() ? &a.bias_regularizer() : nullptr,
          .constraint = a.has_bias_constraint() ? &a.bias_constraint() : nullptr};
}

// Keras: the projected input with the bias (its first row, if it has two), the recurrent kernel, the second row.
struct KerasProjections {
  Value x, h, kernel, recurrent_bias;
};

template <typename M>
KerasProjections ProjectKeras(Scope& s, const M& a, const CellStep& c, int64_t gates, bool two_biases,
                              ParamOptions bias) {
  const int64_t width = c.x.dim(1), units = a.units();
  KerasProjections p;
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
Outputs FinishCell(Scope& s, const CellStep& c, const std::vector<Value>& next);

}  // namespace strata::nn
