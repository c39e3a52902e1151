// What PyTorch's constructors insist on beyond the schema, where Strata's own definitions leave a choice: sizes that
// the input would tell, and one number instead of a list of one.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/strings/match.h"
#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/nn/schema.h"

namespace strata::framework {
namespace {

// Arguments without a default in PyTorch, which Strata infers.
constexpr std::string_view kSizes[] = {"in_features", "in_channels",  "num_features",    "input_size",
                                       "num_groups",  "num_channels", "normalized_shape"};

// Arguments of layers over several axes whose list must have an entry for each of them.
struct Lists {
  std::string_view kind;  // what the member of Layer.kind begins with
  std::string_view argument;
};
constexpr Lists kLists[] = {
    {"conv2d", "kernel_size"},
    {"conv3d", "kernel_size"},
    {"conv_transpose2d", "kernel_size"},
    {"conv_transpose3d", "kernel_size"},
    {"adaptive_max_pool2d", "output_size"},
    {"adaptive_max_pool3d", "output_size"},
    {"adaptive_avg_pool2d", "output_size"},
    {"adaptive_avg_pool3d", "output_size"},
    {"fractional_max_pool", "kernel_size"},
    {"fractional_max_pool", "output_size"},
    {"fold", "output_size"},
    {"fold", "kernel_size"},
    {"fold", "dilation"},
    {"fold", "padding"},
    {"fold", "stride"},
    {"unfold", "kernel_size"},
    {"unfold", "dilation"},
    {"unfold", "padding"},
    {"unfold", "stride"},
    {"constant_pad", "padding"},
    {"zero_pad", "padding"},
    {"replication_pad", "padding"},
    {"reflection_pad", "padding"},
    {"circular_pad", "padding"},
};

bool IsPadding(std::string_view kind) { return kind.find("_pad") != kind.npos; }

}  // namespace

absl::Status CheckPytorchArguments(const std::string& path, const google::protobuf::FieldDescriptor* kind,
                                   const Json& config) {
  for (const std::string_view size : kSizes) {
    const std::string name(size);
    if (nn::FindArgument(kind->message_type(), v1::PYTORCH, name) == nullptr) continue;
    const Json& value = Member(config, name.c_str());
    if (value.is_null()) return InvalidArgument(Below(path, name), ": must be given, got nothing");
  }
  for (const Lists& l : kLists) {
    const std::string argument(l.argument);
    const Json& value = Member(config, argument.c_str());
    if (kind->name().rfind(l.kind, 0) != 0 || !value.is_array() || value.size() != 1) continue;
    return InvalidArgument(Below(path, argument), ": must be a number or ",
                           IsPadding(kind->name()) ? "pairs of numbers" : "a list with an entry for each axis",
                           ", got a list of one");
  }
  if (kind->name() == "gelu" && Member(config, "approximate").is_boolean()) {
    return WrongValue(Below(path, "approximate"), "one of none, tanh", config["approximate"]);
  }
  return absl::OkStatus();
}

}  // namespace strata::framework
