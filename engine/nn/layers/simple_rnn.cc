// The plain recurrence h' = act(x W + h U + b).
#include "engine/nn/component.h"
#include "engine/nn/layers/activations.h"
#include "engine/nn/layers/keras_rnn.h"
#include "engine/nn/layers/stacked_rnn.h"

namespace strata::nn {
namespace {

Outputs BuildPytorch(Scope& s, const v1::SimpleRnn& a, const Args& args) {
  StackedRnn rnn;
  rnn.hidden = rnn.output = a.units();
  rnn.num_layers = a.num_layers();
  rnn.use_bias = a.use_bias();
  rnn.bidirectional = a.bidirectional();
  rnn.batch_first = a.batch_first();
  rnn.dropout = a.dropout();
  rnn.input_size = a.input_size();
  const bool relu = a.nonlinearity() == "relu";
  rnn.cell = [relu](Scope&, Value gates, const std::vector<Value>&, const std::vector<Value>&) {
    return std::vector<Value>{relu ? Relu(gates) : Tanh(gates)};
  };
  return BuildStackedRnn(s, rnn, args);
}

Outputs BuildSimpleRnn(Scope& s, const v1::SimpleRnn& a, const Args& args) {
  if (s.pytorch()) return BuildPytorch(s, a, args);
  ParamOptions bias{.initializer = a.bias_initializer(),
                    .regularizer = a.has_bias_regularizer() ? &a.bias_regularizer() : nullptr,
                    .constraint = a.has_bias_constraint() ? &a.bias_constraint() : nullptr};
  KerasRnn rnn;
  rnn.bias = std::move(bias);
  rnn.cell = [&a](Scope& body, Value x, const std::vector<Value>&, const std::vector<Value>&) {
    return std::vector<Value>{Activate(body, a.activation(), x)};
  };
  return BuildKerasRnn(s, a, args, rnn);
}

}  // namespace

Components SimpleRnn() {
  return Layer<v1::SimpleRnn>("simple_rnn", &BuildSimpleRnn)
      .Shapes(
          "x[T, N, D] or x[N, T, D] -> y[T, N, O] or y[N, T, O], h[L, N, units] (PyTorch); "
          "x[N, T, D] -> y[N, units] or y[N, T, units], h[N, units] (Keras)")
      .Takes(kFloats)
      .Inputs(1, 2)
      .Mask(MaskRule::kConsume)
      .Named(v1::KERAS, {"mask"})
      .With({"units: 3", {{4, 2, 5}}, v1::PYTORCH})
      .With({"units: 3 nonlinearity: \"relu\" bidirectional: true", {{3, 1, 2}}, v1::PYTORCH})
      .With({"units: 3", {{2, 4, 5}}, v1::KERAS})
      .With({"units: 1 return_sequences: true", {{3, 2, 1}}, v1::KERAS});
}

}  // namespace strata::nn
