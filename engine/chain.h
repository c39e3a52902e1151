// Whether the calls of a model form a chain. In a header alone: the service asks without linking the engine.
#pragma once

#include <string>

#include "strata/v1/model.pb.h"

namespace strata {

// One input; every layer is called once, in order, on the first output of the call before it; the last one's is the
// result. Of a complete model, whose calls are explicit.
inline bool IsChain(const v1::Model& model) {
  if (model.inputs_size() != 1 || model.outputs_size() != 1 || model.calls_size() != model.layers_size()) return false;
  std::string previous = model.inputs(0).name();
  for (int i = 0; i < model.calls_size(); ++i) {
    const v1::Call& call = model.calls(i);
    if (call.layer() != model.layers(i).name() || call.args_size() != 1 || !call.named_args().empty() ||
        call.args(0).call() != previous || call.args(0).output() != 0) {
      return false;
    }
    previous = call.name();
  }
  return model.outputs(0).edge().call() == previous && model.outputs(0).edge().output() == 0;
}

// Whether a complete model is Keras' Sequential: a chain that does not say that it is functional.
inline bool IsSequential(const v1::Model& model) {
  return !model.functional() && !model.layers().empty() && IsChain(model);
}

}  // namespace strata
