// Fields of components, by reflection: what both dialects say alike needs no rule.
#pragma once

#include <string>
#include <vector>

#include "google/protobuf/message.h"
#include "strata/v1/model.pb.h"

namespace strata::convert {

// A field that the other dialect does not have, with something set in it.
struct LeftOut {
  std::string field;
  std::string value;  // text
  // It says how parameters start or are penalised, not what the component computes.
  bool training_only = false;
};

// Copies what the component `kind` of dialect `to` also has from the component in `from` (complete) into `layer`, whose
// kind it sets. Fields in `handled` and the activation are the caller's. Fields of the other dialect only that are at
// their defaults, or that only inform (in_features, seed), are dropped.
std::vector<LeftOut> CopyFields(const v1::Layer& from, v1::Dialect from_dialect, v1::Dialect to,
                                const std::string& kind, const std::vector<std::string>& handled, v1::Layer* layer);

// Clears fields at a default that both dialects share: definitions stay as short as their source.
void ClearDefaults(v1::Dialect dialect, v1::Layer* layer);

// The message of the component that is set, and of `kind` after setting it.
const google::protobuf::Message& AttrsOf(const v1::Layer& layer);
google::protobuf::Message* MutableAttrs(v1::Layer* layer);
v1::Layer MakeLayer(const std::string& kind);

}  // namespace strata::convert
