// Components in a framework's words, below whole models: forms of a component, arguments, and the unions that the
// frameworks allow. Shared by the files of this folder.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/import/json.h"
#include "google/protobuf/message.h"
#include "strata/v1/common.pb.h"
#include "strata/v1/model.pb.h"
#include "strata/v1/schedules.pb.h"
#include "strata/v1/schema.pb.h"

namespace strata::framework {

// The three forms of a component.
struct Form {
  enum class Kind { kClass, kFunction, kString };
  Kind kind = Kind::kString;
  std::string name;
  const Json* config = nullptr;  // an object; null for a string
};
// The form points into `json`.
absl::StatusOr<Form> FormOf(const std::string& path, const Json& json);
// The form's config, or an empty object.
const Json& ConfigOf(const Form& form);
// "tf.nn.relu", "activations.relu" -> "relu".
std::string WithoutModule(const std::string& name);

// What a call to SetArguments may do besides setting fields.
struct ArgumentRules {
  v1::Dialect dialect = v1::DIALECT_UNSPECIFIED;
  int spatial_axes = 0;
  // Arguments without meaning here (names, dtypes, inplace); refused only when they ask for something else than we do.
  bool layer = false;
};

// Models may be nested this deep.
inline constexpr int kMaxModelDepth = 32;

// "path.name", or "name" at the top.
std::string Below(const std::string& path, const std::string& name);

// Sets the fields of `message` from the framework's arguments. INVALID_ARGUMENT names an unknown or wrong argument.
absl::Status SetArguments(const ArgumentRules& rules, const std::string& path, const Json& config,
                          google::protobuf::Message* message);

// Refuses what Strata's own definitions may leave out but the constructor of PyTorch's class (a member of Layer.kind)
// may not.
absl::Status CheckPytorchArguments(const std::string& path, const google::protobuf::FieldDescriptor* kind,
                                   const Json& config);

// Likewise for Keras.
absl::Status CheckKerasArguments(const std::string& path, const google::protobuf::FieldDescriptor* kind,
                                 const Json& config);

// Sets one field from its JSON value and checks its range.
absl::Status SetField(const ArgumentRules& rules, const std::string& path, const Json& value,
                      const google::protobuf::FieldDescriptor* field, google::protobuf::Message* message);

// Fails for a required field that is neither set nor defaulted.
absl::Status CheckRequired(const ArgumentRules& rules, const std::string& path,
                           const google::protobuf::Message& message);

// The unions.
absl::Status SetPadding(const std::string& path, const Json& value, int spatial_axes, v1::Padding* padding);
absl::Status SetActivation(const std::string& path, const Json& value, v1::Activation* activation);
absl::Status SetInitializer(v1::Dialect dialect, const std::string& path, const Json& value,
                            v1::Initializer* initializer);
// Null clears nothing and sets nothing: `*set` says whether there is a penalty or projection.
absl::Status SetRegularizer(const std::string& path, const Json& value, v1::Regularizer* regularizer, bool* set);
absl::Status SetConstraint(const std::string& path, const Json& value, v1::Constraint* constraint, bool* set);

// The status for a class, function or string that Strata does not have.
absl::Status NoComponent(v1::Dialect dialect, const std::string& path, const Form& form);
// Tells that status from others, so that a caller can say "not supported" and not "wrong".
bool IsNoComponent(const absl::Status& status);

// A learning-rate schedule: a scheduler of PyTorch, or a schedule or callback of Keras.
absl::StatusOr<v1::Schedule> ScheduleFrom(v1::Dialect dialect, const std::string& path, const Json& json);

// A layer with its name, trainable flag and arguments.
absl::StatusOr<v1::Layer> LayerFrom(v1::Dialect dialect, const std::string& path, const Json& json);

}  // namespace strata::framework
