// What Keras' constructors insist on beyond the schema, where Strata's own definitions leave a choice: one number
// instead of a list of one, rules instead of numbers, arguments that a class inherits and does not use.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/nn/schema.h"

namespace strata::framework {
namespace {

// Lists of these have an entry for each axis.
constexpr std::string_view kPerAxis[] = {"kernel_size", "strides", "pool_size", "dilation_rate", "output_padding"};
constexpr const char* kRequired[][2] = {
    {"alpha_dropout", "rate"},     {"spatial_dropout1d", "rate"}, {"spatial_dropout2d", "rate"},
    {"spatial_dropout3d", "rate"}, {"dropout", "rate"},           {"reshape", "target_shape"},
    {"permute", "dims"},
};

bool IsConvolution(const std::string& kind) {
  return absl::StrContains(kind, "conv") || absl::StartsWith(kind, "locally_connected");
}

absl::Status CheckLists(const std::string& path, const std::string& kind, const Json& config) {
  const size_t axes = static_cast<size_t>(nn::SpatialAxes(kind));
  if (axes == 0) return absl::OkStatus();
  const auto check = [&](std::string_view argument, size_t count) -> absl::Status {
    const std::string name(argument);
    const Json& value = Member(config, name.c_str());
    if (!value.is_array() || value.size() == count) return absl::OkStatus();
    return InvalidArgument(Below(path, name), ": must be a number or a list of ", count, ", got ", value.size(),
                           " elements");
  };
  for (const std::string_view argument : kPerAxis) STRATA_RETURN_IF_ERROR(check(argument, axes));
  if (absl::StartsWith(kind, "up_sampling")) {
    if (axes > 1) return check("size", axes);
    if (Member(config, "size").is_array()) return WrongValue(Below(path, "size"), "a number", config["size"]);
  }
  // A pair for one axis, a number or a pair for each of several.
  const size_t sides = axes == 1 ? 2 : axes;
  if (absl::StartsWith(kind, "zero_padding")) return check("padding", sides);
  if (!absl::StartsWith(kind, "cropping")) return absl::OkStatus();
  if (config.contains("cropping") && config["cropping"].is_null()) {
    return WrongValue(Below(path, "cropping"), "a number or a list", config["cropping"]);
  }
  return check("cropping", sides);
}

// Depthwise and separable convolutions read the plain one's arguments and do not use them.
absl::Status CheckInherited(const std::string& path, const Json& config) {
  bool set = false;
  if (const Json& value = Member(config, "kernel_initializer"); !value.is_null()) {
    v1::Initializer initializer;
    STRATA_RETURN_IF_ERROR(SetInitializer(v1::KERAS, Below(path, "kernel_initializer"), value, &initializer));
  }
  v1::Regularizer regularizer;
  STRATA_RETURN_IF_ERROR(
      SetRegularizer(Below(path, "kernel_regularizer"), Member(config, "kernel_regularizer"), &regularizer, &set));
  v1::Constraint constraint;
  return SetConstraint(Below(path, "kernel_constraint"), Member(config, "kernel_constraint"), &constraint, &set);
}

}  // namespace

absl::Status CheckKerasArguments(const std::string& path, const google::protobuf::FieldDescriptor* kind,
                                 const Json& config) {
  for (const auto& [layer, argument] : kRequired) {
    if (kind->name() != layer || !Member(config, argument).is_null()) continue;
    return InvalidArgument(Below(path, argument), ": must be given, got nothing");
  }
  for (const char* list : {"target_shape", "dims"}) {
    const Json& value = Member(config, list);
    if (!value.is_null() && !value.is_array()) return WrongValue(Below(path, list), "a list", value);
  }
  STRATA_RETURN_IF_ERROR(CheckLists(path, kind->name(), config));
  if (IsConvolution(kind->name()) && config.contains("padding") && !config["padding"].is_string()) {
    return WrongValue(Below(path, "padding"), "a rule's name", config["padding"]);
  }
  if (kind->name() == "dot" && Member(config, "axes").is_array() && config["axes"].size() != 2) {
    return WrongValue(Below(path, "axes"), "a number or two of them", config["axes"]);
  }
  const std::string& type = kind->message_type()->name();
  if (type == "ConvLstm" && Member(config, "unroll") == true) {
    return WrongValue(Below(path, "unroll"), "false for a convolution", config["unroll"]);
  }
  if (type == "SeparableConv" || type == "DepthwiseConv") return CheckInherited(path, config);
  return absl::OkStatus();
}

}  // namespace strata::framework
