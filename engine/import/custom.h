// Custom components in the frameworks' words: {"class_name": "Linear", "config": {...}} where Linear is a definition
// that came along (Keras' custom_objects), Keras' Lambda with its function as text, and Expression, a function as text.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/import/component.h"
#include "engine/import/framework.h"

namespace strata::framework {

// Writes definitions into the components that name them, under "custom_component": a definition as JSON, which a text
// may also have by itself. Own definitions go before a framework's components of the same name. A text alone counts as
// a name if `texts`.
Json WithDefinitions(Json json, const Definitions& definitions, bool texts);

// The component if `json` is a custom one; nothing if it is not.
absl::StatusOr<std::optional<v1::CustomLayer>> CustomLayerFrom(v1::Dialect dialect, const std::string& path,
                                                               const Json& json);
absl::StatusOr<std::optional<v1::CustomLoss>> CustomLossFrom(v1::Dialect dialect, const Json& json);
absl::StatusOr<std::optional<v1::CustomMetric>> CustomMetricFrom(v1::Dialect dialect, const Json& json);

// The other direction: hyper-parameters, or the text of Lambda and Expression, as the arguments of the class.
Json WriteCustom(const v1::CustomComponent& definition, const google::protobuf::Struct& hyperparameters);

// Results of a custom layer's body.
int NumCustomOutputs(const v1::CustomLayer& layer);

// Names hyper-parameters in errors as the frameworks name arguments.
absl::Status WithoutOurPath(const std::string& path, const absl::Status& status);

}  // namespace strata::framework
