// One step of GRU as a layer.
#include "engine/nn/component.h"
#include "engine/nn/layers/cells.h"
#include "engine/nn/layers/gru.h"

namespace strata::nn {
namespace {

Outputs Build(Scope& s, const v1::GruCell& a, const Args& args) {
  const CellStep c = EnterCell(s, a, args, 1);
  if (!s.ok()) return Outputs(3, Value{s.graph(), -1});
  if (s.pytorch()) {
    const PytorchProjections p = ProjectPytorch(s, a, c, 3);
    return FinishCell(s, c, {PytorchGruStep(p.x, p.h, c.states[0])});
  }
  const KerasProjections p = ProjectKeras(s, a, c, 3, a.reset_after(), CellBias(a));
  return FinishCell(s, c,
                    {KerasGruStep(s, a.activation(), a.recurrent_activation(), a.reset_after(), p.x, p.h, p.kernel,
                                  p.recurrent_bias)});
}

}  // namespace

Components GruCell() {
  return Cell<v1::GruCell>("gru_cell", &Build, 1)
      .With("units: 3", {{2, 4}, {2, 3}})
      .With("units: 1 use_bias: false", {{3, 2}, {3, 1}})
      .With({"units: 2 reset_after: false", {{1, 5}, {1, 2}}, v1::KERAS});
}

}  // namespace strata::nn
