// From definitions to graphs: runs layers and whole models in a scope. Definitions must be complete (nn/complete.h).
//
//   Graph g;
//   Collected collected;
//   Scope s(&g, model.dialect(), /*training=*/false, /*random_state=*/{}, &collected);
//   Outputs y = BuildModel(s, model, {g.AddInput("x", DType::kF32, {32, 784})});
//   if (!g.ok()) return g.status();
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/nn/scope.h"
#include "strata/v1/model.pb.h"

namespace strata::nn {

// One call of `layer` on arguments. The layer's parameters stand directly under the scope's path. Checks the number of
// inputs, applies the catalog's mask rule, and names the layer in errors: the scope's place is the layer's (layers[2]),
// `call` the call's (calls[3]) where there is one.
Outputs BuildLayer(Scope& s, const v1::Layer& layer, const Args& args, const std::string& call = "");

// Told of each call of the outermost model: summaries list them.
using CallObserver = std::function<void(const v1::Call& call, const Args& args, const Outputs& outputs)>;

// Runs a model's calls on values in the order of model.inputs; one value for each of model.outputs. Layers' names
// extend the scope's path.
Outputs BuildModel(Scope& s, const v1::Model& model, const std::vector<Annotated>& inputs,
                   const CallObserver& observer = nullptr);

}  // namespace strata::nn
