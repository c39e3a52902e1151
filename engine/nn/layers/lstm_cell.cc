// One step of LSTM as a layer.
#include "engine/nn/component.h"
#include "engine/nn/layers/cells.h"
#include "engine/nn/layers/lstm.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::LstmCell& a, const Args& args) {
  const CellStep c = EnterCell(s, a, args, 2);
  if (!s.ok()) return Outputs(3, Value{s.graph(), -1});
  if (s.pytorch()) {
    const PytorchProjections p = ProjectPytorch(s, a, c, 4);
    return FinishCell(s, c, PytorchLstmStep(p.x + p.h, c.states[1]));
  }
  ParamOptions bias = CellBias(a);
  const int64_t units = a.units();
  if (a.unit_forget_bias()) {
    bias.adjust = [units](Tensor* t) {
      for (int64_t i = units; i < 2 * units; ++i) t->Set(i, 1);
    };
  }
  const KerasProjections p = ProjectKeras(s, a, c, 4, false, std::move(bias));
  return FinishCell(
      s, c, KerasLstmStep(s, a.activation(), a.recurrent_activation(), p.x + MatMul(p.h, p.kernel), c.states[1]));
}

}  // namespace

Components LstmCell() {
  return Cell<v1::LstmCell>("lstm_cell", &Build, 2)
      .With("units: 3", {{2, 4}, {2, 3}, {2, 3}})
      .With("units: 1 use_bias: false", {{3, 2}, {3, 1}, {3, 1}})
      .With("units: 2", {{1, 5}});
}

}  // namespace strata::nn
