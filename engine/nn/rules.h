// Rules between the fields of one component, which no single field's range can say. Part of Fill (nn/schema.h).
#pragma once

#include <string>

#include "absl/status/status.h"
#include "google/protobuf/message.h"
#include "strata/v1/model.pb.h"
#include "strata/v1/schema.pb.h"

namespace strata::nn {

// Checks `message`, whose defaults are filled in, where it is a component with such a rule. `spatial_axes` as in
// CheckField. INVALID_ARGUMENT "path.field: rule, got value"; fields of one rule are separated by a bar.
absl::Status CheckRules(v1::Dialect dialect, int spatial_axes, const std::string& path,
                        const google::protobuf::Message& message);

// A truth value among the attributes of a layer, by name; false where its kind has none of this name.
bool FlagOf(const v1::Layer& layer, const char* name);

}  // namespace strata::nn
