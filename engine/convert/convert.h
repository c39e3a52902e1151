// A model in the other dialect: the definition, and how its weights follow from the old ones. README.md here says how.
//
//   STRATA_ASSIGN_OR_RETURN(const Conversion c, ConvertModel(keras_model, v1::PYTORCH));
//   STRATA_ASSIGN_OR_RETURN(const NamedTensors weights, c.Weights(keras_weights));
//   Version::Create(c.model, weights, {});   // predicts what the old one predicts, on inputs in c.inputs' order of
//   axes
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/status.h"
#include "engine/base/tensor.h"
#include "engine/convert/weights.h"
#include "strata/v1/model.pb.h"

namespace strata {

// Axis i of the new model's tensor is axis axes[i] of the old model's.
struct AxisOrder {
  std::string name;
  std::vector<int64_t> axes;
};

struct Conversion {
  v1::Model model;
  std::vector<AxisOrder> inputs, outputs;  // in the model's order
  // "path: what was left out": it changes how the model starts or trains, never what it predicts.
  std::vector<std::string> warnings;
  std::vector<convert::WeightMove> moves;

  // Parameters and buffers of the new model from all of the old one's. INVALID_ARGUMENT if one is missing. Here in the
  // header, so that the service links without the engine.
  absl::StatusOr<NamedTensors> Weights(const NamedTensors& old) const {
    NamedTensors made;
    for (const convert::WeightMove& move : moves) {
      std::vector<const Tensor*> sources;
      for (const std::string& name : move.sources) {
        const auto it = old.find(name);
        if (it == old.end()) return InvalidArgument("weights.", name, ": must be given, got nothing");
        sources.push_back(&it->second);
      }
      made[move.target] = move.recipe(sources);
    }
    return made;
  }
};

// INVALID_ARGUMENT lists every component that `to` has no counterpart for, by its path and with the reason; also if the
// model is in that dialect already.
absl::StatusOr<Conversion> ConvertModel(const v1::Model& model, v1::Dialect to);

}  // namespace strata
