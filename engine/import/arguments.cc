// Forms of a component, and a framework's arguments as fields of a message.
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/nn/schema.h"

namespace strata::framework {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr absl::string_view kNoComponent = ": no component for ";

// Keras' dtype argument: a name or a policy. Everything here computes in float32.
absl::Status CheckDtype(const std::string& path, const Json& value) {
  const Json* name = &value;
  if (value.is_object()) {
    const auto config = value.find("config");
    if (config != value.end() && config->is_object() && config->contains("name")) name = &(*config)["name"];
  }
  if (name->is_null() || *name == "float32") return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat(path, ": must be float32, got ", Quote(*name)));
}

// Arguments that change nothing here, or only if they have a certain value.
struct Harmless {
  const char* name;
  v1::Dialect dialect;
  // The only value that is accepted, null apart; null: any.
  const char* value;
};

constexpr Harmless kHarmless[] = {
    {"name", v1::KERAS, nullptr},
    {"trainable", v1::KERAS, nullptr},
    {"batch_input_shape", v1::KERAS, nullptr},
    {"input_shape", v1::KERAS, nullptr},
    {"input_dim", v1::KERAS, nullptr},
    {"batch_size", v1::KERAS, nullptr},
    {"autocast", v1::KERAS, nullptr},
    {"dynamic", v1::KERAS, "false"},
    {"sparse", v1::KERAS, "false"},
    {"ragged", v1::KERAS, "false"},
    {"weights", v1::KERAS, "null"},
    {"activity_regularizer", v1::KERAS, nullptr},  // every layer's
    {"synchronized", v1::KERAS, "false"},
    {"renorm", v1::KERAS, "false"},
    {"optional", v1::KERAS, "false"},
    {"renorm_clipping", v1::KERAS, "null"},
    {"renorm_momentum", v1::KERAS, nullptr},
    {"virtual_batch_size", v1::KERAS, "null"},
    {"adjustment", v1::KERAS, "null"},
    {"partitioner", v1::KERAS, "null"},
    {"top_k", v1::KERAS, "null"},
    {"class_id", v1::KERAS, "null"},
    {"fn", v1::KERAS, nullptr},
    {"time_major", v1::KERAS, "false"},
    {"unroll", v1::KERAS, nullptr},
    {"noise_shape", v1::KERAS, "null"},
    {"seed", v1::KERAS, nullptr},
    {"query_shape", v1::KERAS, nullptr},
    {"key_shape", v1::KERAS, nullptr},
    {"value_shape", v1::KERAS, nullptr},
    {"softmax_robust_masking", v1::KERAS, "false"},
    {"inplace", v1::PYTORCH, nullptr},
    {"device", v1::PYTORCH, "null"},
    {"dtype", v1::PYTORCH, "null"},
};

// Whether `key` needs no field; the status says whether its value is one that we can ignore.
bool IsHarmless(const ArgumentRules& rules, const std::string& path, const std::string& key, const Json& value,
                absl::Status* status) {
  if (!rules.layer) return false;
  if (key == "dtype" && rules.dialect == v1::KERAS) {
    *status = CheckDtype(path, value);
    return true;
  }
  for (const Harmless& h : kHarmless) {
    if (key != h.name || rules.dialect != h.dialect) continue;
    if (h.value != nullptr && !value.is_null() && value.dump() != h.value) {
      *status = absl::UnimplementedError(absl::StrCat(path, ": must be ", h.value, ", got ", Quote(value)));
    }
    return true;
  }
  return false;
}

// An axis given as a list: one axis is the field `axis`, several are `axes`.
absl::Status SetAxes(const ArgumentRules& rules, const std::string& path, const Json& value,
                     const FieldDescriptor* axis, const FieldDescriptor* axes, Message* message) {
  if (value.empty()) return WrongValue(path, "an axis or a list of axes", value);
  if (value.size() == 1) return SetField(rules, absl::StrCat(path, "[0]"), value[0], axis, message);
  return SetField(rules, path, value, axes, message);
}

// Keras' convolutions inherit arguments of the plain one, or of RNN, that they do not use.
bool IsInherited(const google::protobuf::Descriptor* type, const std::string& key, const Json& value) {
  if (type->name() == "ConvTranspose") return key == "groups" && (value.is_null() || value == 1);
  if (type->name() == "ConvLstm") return key == "zero_output_for_mask";
  if (type->name() != "SeparableConv" && type->name() != "DepthwiseConv") return false;
  if (key == "groups") return value.is_null() || value == 1;
  return key == "kernel_initializer" || key == "kernel_regularizer" || key == "kernel_constraint";
}

// Flags of a stack's implementation: what they choose between gives the same numbers.
bool IsImplementationFlag(const google::protobuf::Descriptor* type, const std::string& key) {
  return type->name() == "TransformerEncoder" && (key == "enable_nested_tensor" || key == "mask_check");
}

// A stack's final LayerNorm is held as three fields.
absl::Status SetFinalNorm(const ArgumentRules& rules, const std::string& path, const Json& value, Message* message) {
  if (value.is_null()) return absl::OkStatus();
  STRATA_ASSIGN_OR_RETURN(const Form form, FormOf(path, value));
  if (form.name != "LayerNorm") return WrongValue(path, "a LayerNorm", value);
  const auto* type = message->GetDescriptor();
  message->GetReflection()->SetDouble(message, type->FindFieldByName("norm_eps"), 1e-5);
  if (form.config == nullptr) return absl::OkStatus();
  const std::map<std::string, const char*> fields = {
      {"eps", "norm_eps"}, {"elementwise_affine", "norm_affine"}, {"bias", "norm_use_bias"}};
  for (const auto& [key, argument] : form.config->items()) {
    const std::string at = Below(path, key);
    if (key == "normalized_shape") continue;  // the layers' width
    const auto field = fields.find(key);
    if (field == fields.end()) return InvalidArgument(at, ": unknown argument, got ", Quote(argument));
    STRATA_RETURN_IF_ERROR(SetField(rules, at, argument, type->FindFieldByName(field->second), message));
  }
  return absl::OkStatus();
}

absl::Status SetArgument(const ArgumentRules& rules, const std::string& path, const std::string& key, const Json& value,
                         Message* message) {
  const auto* type = message->GetDescriptor();
  const FieldDescriptor* field = nn::FindArgument(type, rules.dialect, key);
  if (key == "merge_mode" && value.is_null() && field != nullptr) {
    message->GetReflection()->SetString(message, field, "none");
    return absl::OkStatus();
  }
  if (key == "norm" && type->FindFieldByName("norm_eps") != nullptr) return SetFinalNorm(rules, path, value, message);
  if (IsInherited(type, key, value) || IsImplementationFlag(type, key)) return absl::OkStatus();
  if (field == nullptr) {
    absl::Status status;
    if (IsHarmless(rules, path, key, value, &status)) return status;
    return InvalidArgument(path, ": unknown argument, got ", Quote(value));
  }
  const auto* cumulative = type->FindFieldByName("cumulative");
  if (rules.dialect == v1::PYTORCH && key == "momentum" && value.is_null() && cumulative != nullptr) {
    message->GetReflection()->SetBool(message, cumulative, true);
    return absl::OkStatus();
  }
  if (rules.dialect == v1::PYTORCH && key == "momentum" && value.is_null() && type->name() == "InstanceNorm") {
    return SetField(rules, path, 0.0, field, message);  // which it passes on as 0
  }
  const auto* axes = type->FindFieldByName("axes");
  if (key == "axis" && value.is_array() && axes != nullptr && !field->is_repeated()) {
    return SetAxes(rules, path, value, field, axes, message);
  }
  if (key == "thresholds") {
    if (value.is_null()) return absl::OkStatus();
    if (value.is_array() && value.size() == 1 && !field->is_repeated())
      return SetField(rules, path, value[0], field, message);
  }
  return SetField(rules, path, value, field, message);
}

}  // namespace

std::string Below(const std::string& path, const std::string& name) {
  return path.empty() ? name : absl::StrCat(path, ".", name);
}

const Json& ConfigOf(const Form& form) {
  static const Json& empty = *new Json(Json::object());
  return form.config == nullptr ? empty : *form.config;
}

std::string WithoutModule(const std::string& name) {
  const auto dot = name.rfind('.');
  return dot == std::string::npos ? name : name.substr(dot + 1);
}

absl::StatusOr<Form> FormOf(const std::string& path, const Json& json) {
  Form form;
  if (json.is_string()) {
    form.name = json.get<std::string>();
    return form;
  }
  if (!json.is_object()) return WrongValue(path, "a name or an object with class_name and config", json);
  for (const auto& [key, value] : json.items()) {
    if (key == "class_name" || key == "function") {
      if (!form.name.empty()) return WrongValue(path, "a class or a function, not both", json);
      STRATA_ASSIGN_OR_RETURN(form.name, JsonString(Below(path, key), value));
      form.kind = key == "function" ? Form::Kind::kFunction : Form::Kind::kClass;
    } else if (key == "config") {
      if (value.is_null()) continue;
      // A function may be serialised as {"class_name": "function", "config": "relu"}.
      if (!value.is_object() && !value.is_string()) return WrongValue(Below(path, key), "an object", value);
      form.config = &value;
    } else if (key != "module" && key != "registered_name" && key != "build_config" && key != "name" &&
               key != "inbound_nodes" && key != "compile_config" && key != "shared_object_id" &&
               key != "custom_component") {
      return InvalidArgument(Below(path, key), ": unknown member, got ", Quote(value));
    }
  }
  if (form.kind == Form::Kind::kClass && form.name == "function" && form.config != nullptr &&
      form.config->is_string()) {
    form.kind = Form::Kind::kFunction;
    form.name = form.config->get_ref<const std::string&>();
    form.config = nullptr;
  }
  if (form.name.empty()) return WrongValue(Below(path, "class_name"), "set", json);
  if (form.config != nullptr && !form.config->is_object()) {
    return WrongValue(Below(path, "config"), "an object", *form.config);
  }
  return form;
}

absl::Status SetArguments(const ArgumentRules& rules, const std::string& path, const Json& config, Message* message) {
  for (const auto& [key, value] : config.items()) {
    STRATA_RETURN_IF_ERROR(SetArgument(rules, Below(path, key), key, value, message));
  }
  return CheckRequired(rules, path, *message);
}

absl::Status CheckRequired(const ArgumentRules& rules, const std::string& path, const Message& message) {
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    const v1::FieldSchema& schema = nn::SchemaOfField(field);
    if (!schema.required() || (schema.only() != v1::DIALECT_UNSPECIFIED && schema.only() != rules.dialect)) continue;
    const std::string& own = rules.dialect == v1::PYTORCH ? schema.pytorch_default() : schema.keras_default();
    if (!own.empty() || !schema.default_().empty()) continue;
    const auto* r = message.GetReflection();
    const bool present = field->is_repeated() ? r->FieldSize(message, field) > 0 : r->HasField(message, field);
    if (present) continue;
    return InvalidArgument(Below(path, nn::ArgumentName(field, rules.dialect)), ": must be set, got nothing");
  }
  return absl::OkStatus();
}

absl::Status NoComponent(v1::Dialect dialect, const std::string& path, const Form& form) {
  const char* framework = dialect == v1::PYTORCH ? "pytorch " : "keras ";
  const bool is_string = form.kind == Form::Kind::kString;
  const std::string at = path.empty() ? (is_string ? "name" : "class_name") : path;
  const std::string message = absl::StrCat(at, kNoComponent, framework, form.name);
  return is_string ? absl::InvalidArgumentError(message) : absl::UnimplementedError(message);
}

bool IsNoComponent(const absl::Status& status) {
  return !status.ok() && absl::StrContains(status.message(), kNoComponent);
}

}  // namespace strata::framework
