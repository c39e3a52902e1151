// Converts the calls of one model, in order; nested models by themselves.
#pragma once

#include <vector>

#include "engine/convert/site.h"

namespace strata::convert {

// What a model says of one of its inputs.
struct InputNeed {
  std::vector<int> axes;  // order of the axes in the new model
  bool ids = false;       // rows of a table: integers in PyTorch
};

// From what takes the input, through layers that work on each element. `ports` are the inputs' old types.
std::vector<InputNeed> InputNeeds(v1::Dialect from, const v1::Model& model, const std::vector<Port>& ports);

struct Walked {
  v1::Model model;                // complete but for defaults; with explicit calls and outputs
  std::vector<InputNeed> inputs;  // as it takes them
  std::vector<Layout> layouts;    // of the outputs
  std::vector<Port> ports;        // of the outputs, in the new model
};

// `model` is complete. Failures and warnings go to the ledger.
Walked WalkModel(Ledger* ledger, const Place& place, const v1::Model& model, const std::vector<Port>& inputs);

}  // namespace strata::convert
