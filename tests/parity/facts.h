// What a case says about a definition besides numbers, and how its models are imported.
#pragma once

#include "absl/status/statusor.h"
#include "engine/nn/scope.h"
#include "strata/v1/model.pb.h"
#include "tests/parity/case.h"
#include "tests/parity/result.h"

namespace strata::parity {

// The model that `json` (the case's component or its part) describes, with inputs of the shapes that the case feeds. An
// empty `names` takes a shape that the first layer accepts. PyTorch only: Keras' models carry their own.
absl::StatusOr<v1::Model> ModelOf(const Case& c, const Json& json, const std::vector<std::string>& names);

// A shape that a layer accepts, from its own sizes.
absl::StatusOr<Shape> InputShapeFor(const v1::Layer& layer);

// The model written as to_json() and compared with the case's text (Keras).
void CheckModelText(const Case& c, Result* result);
// `call.summary` and `call.count_params`.
void CheckModelFacts(const Case& c, const v1::Model& model, const nn::Collected& collected, Result* result);

}  // namespace strata::parity
