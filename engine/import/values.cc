// Setting fields from JSON values: numbers, names, lists, and the wrappers around them.
#include <algorithm>
#include <cctype>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/import/feature_columns.h"
#include "engine/nn/schema.h"
#include "strata/v1/attention_layers.pb.h"
#include "strata/v1/losses.pb.h"
#include "strata/v1/model.pb.h"

namespace strata::framework {
namespace {

using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string Upper(std::string s) {
  std::transform(s.begin(), s.end(), s.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return s;
}

// Names that differ from the enum's own.
std::string EnumAlias(const EnumDescriptor* type, const std::string& name) {
  if (type == v1::Reduction_descriptor()) {
    if (name == "sum_over_batch_size" || name == "auto") return "MEAN";
    if (name == "batchmean") return "BATCH_MEAN";
  }
  if (type == v1::VarianceScalingInitializer::Distribution_descriptor()) {
    if (name == "normal") return "TRUNCATED_NORMAL";  // Keras' name of it
    if (name == "untruncated_normal") return "NORMAL";
  }
  return Upper(name);
}

absl::StatusOr<int> EnumValue(v1::Dialect dialect, const std::string& path, const Json& value,
                              const EnumDescriptor* type) {
  // Keras' gelu says whether to approximate; PyTorch's says how.
  if (value.is_boolean() && type == v1::Gelu::Approximation_descriptor()) {
    return value.get<bool>() ? v1::Gelu::TANH : v1::Gelu::NONE;
  }
  // Keras reads many of its words in any case, PyTorch none.
  if (value.is_string() && (dialect != v1::PYTORCH || value == absl::AsciiStrToLower(value.get<std::string>()))) {
    const auto* v = type->FindValueByName(EnumAlias(type, value.get<std::string>()));
    const bool unspecified = v != nullptr && v->number() == 0 && v->name().find("UNSPECIFIED") != std::string::npos;
    if (v != nullptr && !unspecified) return v->number();
  }
  std::string names;
  for (int i = 0; i < type->value_count(); ++i) {
    std::string name = type->value(i)->name();
    if (name.find("UNSPECIFIED") != std::string::npos) continue;
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    absl::StrAppend(&names, names.empty() ? "" : ", ", name);
  }
  return WrongValue(path, absl::StrCat("one of ", names), value);
}

absl::Status SetScalar(v1::Dialect dialect, const std::string& path, const Json& value, const FieldDescriptor* field,
                       Message* message) {
  const Reflection* r = message->GetReflection();
  const bool list = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64: {
      STRATA_ASSIGN_OR_RETURN(const int64_t v, JsonInt(path, value));
      list ? r->AddInt64(message, field, v) : r->SetInt64(message, field, v);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      STRATA_ASSIGN_OR_RETURN(const double v, JsonDouble(path, value));
      list ? r->AddDouble(message, field, v) : r->SetDouble(message, field, v);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_BOOL: {
      STRATA_ASSIGN_OR_RETURN(const bool v, JsonBool(path, value));
      list ? r->AddBool(message, field, v) : r->SetBool(message, field, v);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      STRATA_ASSIGN_OR_RETURN(const std::string v, JsonString(path, value));
      list ? r->AddString(message, field, v) : r->SetString(message, field, v);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      STRATA_ASSIGN_OR_RETURN(const int v, EnumValue(dialect, path, value, field->enum_type()));
      list ? r->AddEnumValue(message, field, v) : r->SetEnumValue(message, field, v);
      return absl::OkStatus();
    }
    default:
      return WrongValue(path, "a value that the field can hold", value);
  }
}

// A list of whole numbers, one number standing for a list of one; null elements become `null_means` if there is such a
// value.
absl::StatusOr<std::vector<int64_t>> IntList(const std::string& path, const Json& value, const int64_t* null_means) {
  if (!value.is_array()) {
    STRATA_ASSIGN_OR_RETURN(const int64_t v, JsonInt(path, value));
    return std::vector<int64_t>{v};
  }
  std::vector<int64_t> list;
  for (size_t i = 0; i < value.size(); ++i) {
    if (value[i].is_null() && null_means != nullptr) {
      list.push_back(*null_means);
      continue;
    }
    STRATA_ASSIGN_OR_RETURN(const int64_t v, JsonInt(absl::StrCat(path, "[", i, "]"), value[i]));
    list.push_back(v);
  }
  return list;
}

// Nested lists of numbers, all of one shape.
absl::Status DoubleArray(const std::string& path, const Json& value, size_t depth, std::vector<int64_t>* shape,
                         google::protobuf::RepeatedField<double>* list) {
  if (!value.is_array()) {
    if (depth != shape->size()) return WrongValue(path, "a list as deep as its siblings", value);
    STRATA_ASSIGN_OR_RETURN(const double v, JsonDouble(path, value));
    list->Add(v);
    return absl::OkStatus();
  }
  const int64_t size = static_cast<int64_t>(value.size());
  if (depth == shape->size() && list->empty()) shape->push_back(size);
  if (depth >= shape->size() || (*shape)[depth] != size) {
    return WrongValue(path, "a list as long as its siblings", value);
  }
  for (size_t i = 0; i < value.size(); ++i) {
    STRATA_RETURN_IF_ERROR(DoubleArray(absl::StrCat(path, "[", i, "]"), value[i], depth + 1, shape, list));
  }
  return absl::OkStatus();
}

// A tensor given as nested lists: its numbers, and its shape in the field `<name>_shape` where there is one.
absl::Status SetDoubles(const std::string& path, const Json& value, const FieldDescriptor* field, Message* message) {
  const Reflection* r = message->GetReflection();
  auto* doubles = static_cast<v1::Doubles*>(r->MutableMessage(message, field));
  std::vector<int64_t> shape;
  STRATA_RETURN_IF_ERROR(DoubleArray(path, value, 0, &shape, doubles->mutable_values()));
  const auto* shape_field = message->GetDescriptor()->FindFieldByName(field->name() + "_shape");
  if (shape_field == nullptr) {
    return shape.size() <= 1 ? absl::OkStatus() : WrongValue(path, "a list of numbers", value);
  }
  if (shape.size() == 1) return absl::OkStatus();
  for (int64_t size : shape) r->AddInt64(message, shape_field, size);
  return absl::OkStatus();
}

absl::Status SetMessage(const ArgumentRules& rules, const std::string& path, const Json& value,
                        const FieldDescriptor* field, Message* message) {
  const Reflection* r = message->GetReflection();
  const auto* type = field->message_type();
  const auto sub = [&] { return r->MutableMessage(message, field); };
  if (type == v1::Padding::descriptor()) {
    return SetPadding(path, value, rules.spatial_axes, static_cast<v1::Padding*>(sub()));
  }
  if (type == v1::Activation::descriptor()) return SetActivation(path, value, static_cast<v1::Activation*>(sub()));
  if (type == v1::Initializer::descriptor()) {
    return SetInitializer(rules.dialect, path, value, static_cast<v1::Initializer*>(sub()));
  }
  if (type == v1::Ints::descriptor()) {
    constexpr int64_t kKeep = -1;
    STRATA_ASSIGN_OR_RETURN(const auto list, IntList(path, value, &kKeep));
    static_cast<v1::Ints*>(sub())->mutable_values()->Add(list.begin(), list.end());
    return absl::OkStatus();
  }
  if (type == v1::Doubles::descriptor()) return SetDoubles(path, value, field, message);
  if (type == v1::Layer::descriptor()) {
    STRATA_ASSIGN_OR_RETURN(*static_cast<v1::Layer*>(sub()), LayerFrom(rules.dialect, path, value));
    return absl::OkStatus();
  }
  if (type == v1::FeatureColumn::descriptor()) {
    return SetFeatureColumn(path, value, static_cast<v1::FeatureColumn*>(sub()));
  }
  if (type == v1::TransformerEncoderLayer::descriptor() || type == v1::TransformerDecoderLayer::descriptor()) {
    STRATA_ASSIGN_OR_RETURN(const Form form, FormOf(path, value));
    if (form.name != type->name()) return WrongValue(path, type->name(), value);
    return SetArguments(rules, path, form.config == nullptr ? Json::object() : *form.config, sub());
  }
  bool set = true;
  if (type == v1::Regularizer::descriptor()) {
    STRATA_RETURN_IF_ERROR(SetRegularizer(path, value, static_cast<v1::Regularizer*>(sub()), &set));
  } else if (type == v1::Constraint::descriptor()) {
    STRATA_RETURN_IF_ERROR(SetConstraint(path, value, static_cast<v1::Constraint*>(sub()), &set));
  } else {
    return WrongValue(path, "a value that the field can hold", value);
  }
  if (!set) r->ClearField(message, field);
  return absl::OkStatus();
}

// Null where a framework allows it. Returns whether `value` has been dealt with.
bool NullMeansAbsent(const ArgumentRules& rules, const FieldDescriptor* field) {
  const v1::FieldSchema& schema = nn::SchemaOfField(field);
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    const auto* type = field->message_type();
    return type != v1::Activation::descriptor() && type != v1::Initializer::descriptor() &&
           type != v1::Padding::descriptor();
  }
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) return field->enum_type() == v1::DataFormat_descriptor();
  if (field->name() == "fused") return true;
  if (schema.required()) return false;
  const bool has_default = !schema.default_().empty() ||
                           !(rules.dialect == v1::PYTORCH ? schema.pytorch_default() : schema.keras_default()).empty();
  return !has_default;
}

}  // namespace

namespace {

// Layers in a list; one layer stands for a list of one.
absl::Status SetLayers(const ArgumentRules& rules, const std::string& path, const Json& value,
                       const FieldDescriptor* field, Message* message) {
  const auto add = [&](const std::string& at, const Json& json) -> absl::Status {
    STRATA_ASSIGN_OR_RETURN(v1::Layer layer, LayerFrom(rules.dialect, at, json));
    *static_cast<v1::Layer*>(message->GetReflection()->AddMessage(message, field)) = std::move(layer);
    return absl::OkStatus();
  };
  // Keras' stack of cells is the list of them.
  if (Member(value, "class_name") == "StackedRNNCells") {
    const Json& config = Member(value, "config");
    const std::string at = Below(Below(path, "config"), "cells");
    if (!Member(config, "cells").is_array()) return WrongValue(at, "a list", Member(config, "cells"));
    return SetLayers(rules, at, Member(config, "cells"), field, message);
  }
  if (!value.is_array()) return add(path, value);
  const auto* stacked = message->GetDescriptor()->FindFieldByName("stacked");
  if (value.size() == 1 && stacked != nullptr) message->GetReflection()->SetBool(message, stacked, true);
  for (size_t i = 0; i < value.size(); ++i) STRATA_RETURN_IF_ERROR(add(absl::StrCat(path, "[", i, "]"), value[i]));
  return absl::OkStatus();
}

// ((1, 0), 2): pairs for each axis, or a number for both of its sides, one after the other.
absl::StatusOr<Json> Flattened(const std::string& path, const Json& value) {
  Json flat = Json::array();
  for (const Json& axis : value) {
    const Json pair = axis.is_array() ? axis : Json::array({axis, axis});
    for (const Json& v : pair) {
      if (v.is_array()) return WrongValue(path, "numbers or pairs of numbers", value);
      flat.push_back(v);
    }
  }
  return flat;
}

bool HasPairs(const Json& value) {
  return value.is_array() && std::any_of(value.begin(), value.end(), [](const Json& v) { return v.is_array(); });
}

}  // namespace

absl::Status SetField(const ArgumentRules& rules, const std::string& path, const Json& value,
                      const FieldDescriptor* field, Message* message) {
  if (field->is_repeated() && field->message_type() == v1::Layer::descriptor()) {
    return SetLayers(rules, path, value, field, message);
  }
  if (field->is_repeated() && field->message_type() == v1::FeatureColumn::descriptor()) {
    const Json list = value.is_array() ? value : Json::array({value});
    for (size_t i = 0; i < list.size(); ++i) {
      auto* column = static_cast<v1::FeatureColumn*>(message->GetReflection()->AddMessage(message, field));
      STRATA_RETURN_IF_ERROR(SetFeatureColumn(absl::StrCat(path, "[", i, "]"), list[i], column));
    }
    return absl::OkStatus();
  }
  if (field->is_repeated() && (field->name() == "padding" || field->name() == "cropping") && HasPairs(value)) {
    STRATA_ASSIGN_OR_RETURN(const Json flat, Flattened(path, value));
    return SetField(rules, path, flat, field, message);
  }
  if (value.is_null() && NullMeansAbsent(rules, field)) return absl::OkStatus();
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    STRATA_RETURN_IF_ERROR(SetMessage(rules, path, value, field, message));
  } else if (field->is_repeated() && field->cpp_type() == FieldDescriptor::CPPTYPE_INT64) {
    constexpr int64_t kKeep = 0;
    const bool may_keep = field->name() == "output_size";
    STRATA_ASSIGN_OR_RETURN(const auto list, IntList(path, value, may_keep ? &kKeep : nullptr));
    for (int64_t v : list) message->GetReflection()->AddInt64(message, field, v);
  } else if (field->is_repeated()) {
    if (!value.is_array()) {
      if (!value.is_number() || field->cpp_type() != FieldDescriptor::CPPTYPE_DOUBLE)
        return WrongValue(path, "a list", value);
      STRATA_RETURN_IF_ERROR(SetScalar(rules.dialect, path, value, field, message));
      return nn::CheckField(rules.dialect, rules.spatial_axes, path, field, message);
    }
    for (size_t i = 0; i < value.size(); ++i) {
      STRATA_RETURN_IF_ERROR(SetScalar(rules.dialect, absl::StrCat(path, "[", i, "]"), value[i], field, message));
    }
  } else {
    STRATA_RETURN_IF_ERROR(SetScalar(rules.dialect, path, value, field, message));
  }
  const bool present = field->is_repeated() || message->GetReflection()->HasField(*message, field);
  return present ? nn::CheckField(rules.dialect, rules.spatial_axes, path, field, message) : absl::OkStatus();
}

absl::Status SetPadding(const std::string& path, const Json& value, int spatial_axes, v1::Padding* padding) {
  if (value.is_string()) {
    const std::string mode = absl::AsciiStrToLower(value.get<std::string>());
    if (mode == "valid") return padding->set_mode(v1::Padding::VALID), absl::OkStatus();
    if (mode == "same") return padding->set_mode(v1::Padding::SAME), absl::OkStatus();
    if (mode == "causal" && spatial_axes <= 1) return padding->set_mode(v1::Padding::CAUSAL), absl::OkStatus();
    return WrongValue(path, spatial_axes <= 1 ? "valid, same or causal" : "valid or same", value);
  }
  if (!value.is_array() && !value.is_number()) return WrongValue(path, "a number, a list or a rule's name", value);
  STRATA_ASSIGN_OR_RETURN(const auto list, IntList(path, value, nullptr));
  padding->mutable_size()->mutable_values()->Add(list.begin(), list.end());
  return absl::OkStatus();
}

}  // namespace strata::framework
