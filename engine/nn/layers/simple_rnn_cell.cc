// One step of the plain recurrence as a layer.
#include "engine/nn/component.h"
#include "engine/nn/layers/activations.h"
#include "engine/nn/layers/cells.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::SimpleRnnCell& a, const Args& args) {
  const CellStep c = EnterCell(s, a, args, 1);
  if (!s.ok()) return Outputs(3, Value{s.graph(), -1});
  if (s.pytorch()) {
    const PytorchProjections p = ProjectPytorch(s, a, c, 1);
    return FinishCell(s, c, {a.nonlinearity() == "relu" ? Relu(p.x + p.h) : Tanh(p.x + p.h)});
  }
  const KerasProjections p = ProjectKeras(s, a, c, 1, false, CellBias(a));
  const Value next = Activate(s, a.activation(), p.x + MatMul(p.h, p.kernel));
  return FinishCell(s, c, {next});
}

}  // namespace

Components SimpleRnnCell() {
  return Cell<v1::SimpleRnnCell>("simple_rnn_cell", &Build, 1)
      .With("units: 3", {{2, 4}, {2, 3}})
      .With({"units: 3 nonlinearity: \"relu\"", {{3, 2}, {3, 3}}, v1::PYTORCH})
      .With("units: 2 use_bias: false", {{1, 5}, {1, 2}});
}

}  // namespace strata::nn
