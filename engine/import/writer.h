// The other direction: components in a framework's words, by the same field options that read them. Shared by the
// files of this folder.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/base/shape.h"
#include "engine/import/json.h"
#include "google/protobuf/message.h"
#include "strata/v1/common.pb.h"
#include "strata/v1/model.pb.h"
#include "strata/v1/schema.pb.h"

namespace strata::framework {

struct WriteRules {
  v1::Dialect dialect = v1::DIALECT_UNSPECIFIED;
  int spatial_axes = 0;
};

// The value of one field as the framework's argument; null where it is absent. Messages are filled (nn/schema.h).
absl::StatusOr<Json> WriteValue(const WriteRules& rules, const google::protobuf::Message& message,
                                const google::protobuf::FieldDescriptor* field);

// Every argument of a filled component, as get_config() lists them (Keras), or those that differ from their defaults
// (PyTorch). `kind` is the member of its family's oneof.
absl::StatusOr<Json> WriteConfig(v1::Dialect dialect, const google::protobuf::FieldDescriptor* kind,
                                 const google::protobuf::Message& message);

// The unions of Keras: a name where the framework writes one, otherwise an object.
absl::StatusOr<Json> WriteActivation(const v1::Activation& activation);
absl::StatusOr<Json> WriteInitializer(const v1::Initializer& initializer);
Json WriteRegularizer(const v1::Regularizer& regularizer);
absl::StatusOr<Json> WriteConstraint(const v1::Constraint& constraint);

// {"class_name", "config"}, in Keras with "module" and "registered_name". The layer is filled and no model.
absl::StatusOr<Json> WriteLayer(v1::Dialect dialect, const v1::Layer& layer);

// An object as Keras' serialize() wraps it.
Json KerasObject(const char* module, const std::string& class_name, Json config);

// Shapes with null for sizes of -1.
Json WriteShape(const Shape& shape);

// A hyper-parameter that Keras keeps as a float32 array.
double RoundToFloat32(double v);

}  // namespace strata::framework
