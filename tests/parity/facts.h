// What a case says about a definition besides numbers, and how its models are imported.
#pragma once

#include "absl/status/statusor.h"
#include "engine/nn/scope.h"
#include "strata/v1/model.pb.h"
#include "tests/parity/case.h"
#include "tests/parity/forward.h"
#include "tests/parity/result.h"

namespace strata::parity {

// The model that `json` (the case's component or its part) describes, with inputs of the shapes that the case feeds. An
// empty `names` takes a shape that the first layer accepts. PyTorch only: Keras' models carry their own.
absl::StatusOr<v1::Model> ModelOf(const Case& c, const Json& json, const std::vector<std::string>& names);

// Shapes that a layer accepts, one for each argument that it must have, from its own sizes.
std::vector<Shape> InputShapesFor(const v1::Layer& layer);
// The case's inputs as the layer's arguments: by name where forward takes them by name, by position elsewhere.
nn::Args ArgsOf(const Case& c, const v1::Layer& layer, CaseGraph* built);
// Arguments of the call that are attributes here.
absl::Status SetCallAttributes(const Case& c, v1::Layer* layer);

// The model written as to_json() and compared with the case's text (Keras).
void CheckModelText(const Case& c, Result* result);
// `call.summary` and `call.count_params`.
void CheckModelFacts(const Case& c, const v1::Model& model, const nn::Collected& collected, Result* result);

}  // namespace strata::parity
