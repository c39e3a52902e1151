// What a definition leaves to defaults: names of layers, calls and outputs, the order of calls, every attribute.
// `Complete` itself is declared in engine/session.h, next to the functions that take a model.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "strata/v1/model.pb.h"

namespace strata {

// The definition with every default of its dialect filled in, names given and calls made explicit and in order; checks
// every range, reference and limit. Idempotent. Part of the engine's facade (engine/session.h declares it too).
absl::StatusOr<v1::Model> Complete(const v1::Model& model);

namespace nn {

// Models whose calls stood in another order before, by path: the index that each of their calls had.
using CallMoves = std::map<std::string, std::vector<int>>;
absl::StatusOr<v1::Model> Complete(const v1::Model& model, CallMoves* moves);
// An error of the complete definition in words of the given one: a path that leads to a call gets the call's old index.
absl::Status WithGivenCalls(const CallMoves& moves, const absl::Status& status);

// Keras' automatic name of a class: "MaxPooling2D" -> "max_pooling2d".
std::string SnakeCase(std::string_view class_name);

// The separator of parameter paths: "." in PyTorch's dialect, "/" in Keras'.
char PathSeparator(v1::Dialect dialect);

// The name that a dialect gives a layer of this kind, without a counter; "layer" if no kind is set.
std::string AutomaticName(v1::Dialect dialect, const v1::Layer& layer);

}  // namespace nn
}  // namespace strata
