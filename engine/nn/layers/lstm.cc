// Long short-term memory. Gates stand in the order input, forget, candidate, output in both dialects.
#include "engine/nn/layers/lstm.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/activations.h"
#include "engine/nn/layers/keras_rnn.h"
#include "engine/nn/layers/stacked_rnn.h"

namespace strata::nn {

// c' = f c + i g; h' = o act(c').
template <typename Gate, typename Act>
std::vector<Value> LstmStep(Value gates, Value c, Gate gate, Act act) {
  const std::vector<Value> parts = Split(gates, -1, 4);
  const Value next = gate(parts[1]) * c + gate(parts[0]) * act(parts[2]);
  return {gate(parts[3]) * act(next), next};
}

std::vector<Value> PytorchLstmStep(Value gates, Value c) { return LstmStep(gates, c, &Sigmoid, &Tanh); }

std::vector<Value> KerasLstmStep(Scope& s, const v1::Activation& activation, const v1::Activation& recurrent_activation,
                                 Value gates, Value c) {
  return LstmStep(
      gates, c, [&](Value v) -> Value { return Activate(s, recurrent_activation, v); },
      [&](Value v) -> Value { return Activate(s, activation, v); });
}

namespace {

Outputs BuildPytorch(Scope& s, const v1::Lstm& a, const Args& args) {
  StackedRnn rnn;
  rnn.hidden = a.units();
  rnn.output = a.proj_size() > 0 ? a.proj_size() : a.units();
  if (a.proj_size() >= a.units()) {
    return {s.Fail(absl::StrCat("proj_size: must be smaller than hidden_size ", a.units(), ", got ", a.proj_size()))};
  }
  rnn.num_layers = a.num_layers();
  rnn.gates = 4;
  rnn.num_states = 2;
  rnn.use_bias = a.use_bias();
  rnn.bidirectional = a.bidirectional();
  rnn.batch_first = a.batch_first();
  rnn.dropout = a.dropout();
  rnn.input_size = a.input_size();
  rnn.cell = [](Scope&, Value gates, const std::vector<Value>& states, const std::vector<Value>& constants) {
    std::vector<Value> next = PytorchLstmStep(gates, states[1]);
    if (!constants.empty()) next[0] = MatMul(next[0], constants[0], false, true);
    return next;
  };
  return BuildStackedRnn(s, rnn, args);
}

Outputs BuildKeras(Scope& s, const v1::Lstm& a, const Args& args) {
  const int64_t units = a.units();
  ParamOptions bias{.initializer = a.bias_initializer(),
                    .regularizer = a.has_bias_regularizer() ? &a.bias_regularizer() : nullptr,
                    .constraint = a.has_bias_constraint() ? &a.bias_constraint() : nullptr};
  if (a.unit_forget_bias()) {
    bias.adjust = [units](Tensor* t) {
      for (int64_t i = units; i < 2 * units; ++i) t->Set(i, 1);
    };
  }
  KerasRnn rnn;
  rnn.gates = 4;
  rnn.num_states = 2;
  rnn.bias = std::move(bias);
  rnn.cell = [&a](Scope& body, Value gates, const std::vector<Value>& states, const std::vector<Value>&) {
    return KerasLstmStep(body, a.activation(), a.recurrent_activation(), gates, states[1]);
  };
  return BuildKerasRnn(s, a, args, rnn);
}

Outputs BuildLstm(Scope& s, const v1::Lstm& a, const Args& args) {
  return s.pytorch() ? BuildPytorch(s, a, args) : BuildKeras(s, a, args);
}

}  // namespace

Components Lstm() {
  return Layer<v1::Lstm>("lstm", &BuildLstm)
      .Shapes(
          "x[T, N, D] or x[N, T, D] -> y[T, N, O] or y[N, T, O], h[L, N, H], c[L, N, units] (PyTorch); "
          "x[N, T, D] -> y[N, units] or y[N, T, units], h[N, units], c[N, units] (Keras)")
      .Takes(kFloats)
      .Inputs(1, 3)
      .Mask(MaskRule::kConsume)
      .Named(v1::KERAS, {"mask"})
      .With({"units: 3", {{4, 2, 5}}, v1::PYTORCH})
      .With({"units: 3 num_layers: 2 bidirectional: true proj_size: 2 batch_first: true", {{2, 3, 4}}, v1::PYTORCH})
      .With({"units: 3", {{2, 4, 5}}, v1::KERAS})
      .With({"units: 2 return_sequences: true go_backwards: true return_state: true", {{1, 3, 4}}, v1::KERAS});
}

}  // namespace strata::nn
