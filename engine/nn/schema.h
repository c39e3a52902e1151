// The schema of definitions, read by reflection from the options in protos/strata/v1/schema.proto: defaults of a
// dialect, ranges, the other dialect's fields, and the catalog. Everything generic about components starts here.
//
//   v1::Layer layer = ...;                                           // conv2d { filters: 8 kernel_size: 3 stride: 0 }
//   STRATA_RETURN_IF_ERROR(Fill(v1::PYTORCH, "layers[3]", &layer));  // layers[3].conv2d.stride[0]: must be >= 1, got 0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "strata/v1/schema.pb.h"
#include "strata/v1/services.pb.h"

namespace strata::nn {

// Fills the defaults of `dialect` into `message` and everything inside it, and checks what was set: required fields,
// ranges, names from a list, fields and components of the other dialect, NaN, enum values, unset kinds. An Activation
// without a kind becomes `linear`; every other unset kind is refused. Nested models are left alone (see complete.h).
// INVALID_ARGUMENT names the field below `path`. Idempotent.
absl::Status Fill(v1::Dialect dialect, std::string_view path, google::protobuf::Message* message);

// Checks one field that is set, as Fill does, but fills nothing and calls it `path`: for definitions in other words
// than ours. `spatial_axes` is the component's (0: unknown).
absl::Status CheckField(v1::Dialect dialect, int spatial_axes, const std::string& path,
                        const google::protobuf::FieldDescriptor* field, google::protobuf::Message* message);

// The families of the catalog: "activation", "constraint", "initializer", "layer", "loss", "metric", "optimizer",
// "schedule".
const std::vector<std::string>& Families();
// The message whose oneof `kind` holds a family's components; null if there is no such family.
const google::protobuf::Descriptor* FamilyDescriptor(std::string_view family);

// Every component of a family, or of all families if `family` is empty, in the order of the protos.
std::vector<v1::ComponentInfo> ListComponents(std::string_view family);

// The options of a member of a oneof and of a field; defaults where there are none.
const v1::ComponentSchema& SchemaOfComponent(const google::protobuf::FieldDescriptor* member);
const v1::FieldSchema& SchemaOfField(const google::protobuf::FieldDescriptor* field);

// The member of `family`'s oneof that a framework calls `name`: by class name, or by function name or string. Null if
// there is none in this dialect.
const google::protobuf::FieldDescriptor* FindClass(const google::protobuf::Descriptor* family, v1::Dialect dialect,
                                                   std::string_view name);
const google::protobuf::FieldDescriptor* FindFunction(const google::protobuf::Descriptor* family, v1::Dialect dialect,
                                                      std::string_view name);
// The field of a component's message that a framework's argument `name` sets; null if there is none in this dialect.
const google::protobuf::FieldDescriptor* FindArgument(const google::protobuf::Descriptor* component,
                                                      v1::Dialect dialect, std::string_view name);
// What a framework calls a field: the first of its names there, or the field's own.
std::string ArgumentName(const google::protobuf::FieldDescriptor* field, v1::Dialect dialect);

// Member of the oneof `kind` that is set; null if none is.
const google::protobuf::FieldDescriptor* KindOf(const google::protobuf::Message& message);
// Its name; "" if none is.
const std::string& KindName(const google::protobuf::Message& message);

// Spatial axes that a component's name states: 2 for conv2d; 0 if it states none.
int SpatialAxes(std::string_view component);

}  // namespace strata::nn
