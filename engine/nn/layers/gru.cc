// Gated recurrent unit. PyTorch's gates stand in the order r, z, n, Keras' in z, r, h; h' = (1 - z) n + z h in both.
// The candidate needs the recurrent product by itself, so input and state are projected apart.
#include <cmath>

#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/layers/activations.h"
#include "engine/nn/layers/gru.h"
#include "engine/nn/layers/keras_rnn.h"
#include "engine/nn/layers/stacked_rnn.h"
#include "engine/ops/ops.h"

namespace strata::nn {

Value PytorchGruStep(Value x, Value h_projected, Value h) {
  const std::vector<Value> i = Split(x, -1, 3), r = Split(h_projected, -1, 3);
  const Value reset = Sigmoid(i[0] + r[0]), update = Sigmoid(i[1] + r[1]);
  const Value candidate = Tanh(i[2] + reset * r[2]);
  return (1 - update) * candidate + update * h;
}

Value KerasGruStep(Scope& s, const v1::Activation& activation, const v1::Activation& recurrent_activation,
                   bool reset_after, Value x, Value h, Value kernel, Value bias) {
  const int64_t units = h.dim(-1);
  const std::vector<Value> i = Split(x, -1, 3);
  const auto gate = [&](Value v) -> Value { return Activate(s, recurrent_activation, v); };
  Value update, candidate;
  if (reset_after) {
    Value inner = MatMul(h, kernel);
    if (bias) inner = inner + bias;
    const std::vector<Value> r = Split(inner, -1, 3);
    update = gate(i[0] + r[0]);
    candidate = Activate(s, activation, i[2] + gate(i[1] + r[1]) * r[2]);
  } else {
    const Value both = MatMul(h, SliceAxis(kernel, 1, 0, 2 * units));
    update = gate(i[0] + SliceAxis(both, -1, 0, units));
    const Value reset = gate(i[1] + SliceAxis(both, -1, units, units));
    candidate = Activate(s, activation, i[2] + MatMul(reset * h, SliceAxis(kernel, 1, 2 * units, units)));
  }
  return update * h + (1 - update) * candidate;
}

namespace {

Outputs BuildPytorch(Scope& s, const v1::Gru& a, const Args& args) {
  StackedRnn rnn;
  rnn.hidden = rnn.output = a.units();
  rnn.num_layers = a.num_layers();
  rnn.gates = 3;
  rnn.use_bias = a.use_bias();
  rnn.bidirectional = a.bidirectional();
  rnn.batch_first = a.batch_first();
  rnn.dropout = a.dropout();
  rnn.input_size = a.input_size();
  rnn.separate = [](Scope&, Value x, Value h_projected, const std::vector<Value>& states) {
    return std::vector<Value>{PytorchGruStep(x, h_projected, states[0])};
  };
  return BuildStackedRnn(s, rnn, args);
}

Outputs BuildGru(Scope& s, const v1::Gru& a, const Args& args) {
  if (s.pytorch()) return BuildPytorch(s, a, args);
  KerasRnn rnn;
  rnn.gates = 3;
  rnn.bias = {.initializer = a.bias_initializer(),
              .regularizer = a.has_bias_regularizer() ? &a.bias_regularizer() : nullptr,
              .constraint = a.has_bias_constraint() ? &a.bias_constraint() : nullptr};
  rnn.two_biases = a.reset_after();
  rnn.raw = true;
  rnn.cell = [&a](Scope& body, Value x, const std::vector<Value>& states, const std::vector<Value>& constants) {
    const Value bias = a.use_bias() && a.reset_after() ? constants[1] : Value{};
    return std::vector<Value>{KerasGruStep(body, a.activation(), a.recurrent_activation(), a.reset_after(), x,
                                           states[0], constants[0], bias)};
  };
  return BuildKerasRnn(s, a, args, rnn);
}

}  // namespace

Components Gru() {
  return Layer<v1::Gru>("gru", &BuildGru)
      .Shapes(
          "x[T, N, D] or x[N, T, D] -> y[T, N, O] or y[N, T, O], h[L, N, units] (PyTorch); "
          "x[N, T, D] -> y[N, units] or y[N, T, units], h[N, units] (Keras)")
      .Takes(kFloats)
      .Inputs(1, 2)
      .Mask(MaskRule::kConsume)
      .Named(v1::KERAS, {"mask"})
      .With({"units: 3", {{4, 2, 5}}, v1::PYTORCH})
      .With({"units: 3 num_layers: 2 bidirectional: true batch_first: true", {{2, 3, 4}}, v1::PYTORCH})
      .With({"units: 3", {{2, 4, 5}}, v1::KERAS})
      .With({"units: 2 reset_after: false return_sequences: true go_backwards: true", {{1, 3, 4}}, v1::KERAS});
}

}  // namespace strata::nn
