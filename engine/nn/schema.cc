#include "engine/nn/schema.h"

#include <cmath>
#include <functional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/base/status.h"
#include "engine/nn/custom/custom.h"
#include "engine/nn/rules.h"
#include "google/protobuf/text_format.h"
#include "strata/v1/common.pb.h"
#include "strata/v1/model.pb.h"

namespace strata::nn {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;
using google::protobuf::Reflection;

const std::string& DefaultText(const v1::FieldSchema& schema, v1::Dialect dialect) {
  const std::string& own = dialect == v1::PYTORCH ? schema.pytorch_default() : schema.keras_default();
  return own.empty() ? schema.default_() : own;
}

// Sets or, for lists, appends a scalar written as text. The texts are ours: a wrong one is our bug.
void SetScalar(const FieldDescriptor* field, std::string_view text, Message* message) {
  const Reflection* r = message->GetReflection();
  const bool list = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64: {
      int64_t v;
      STRATA_CHECK(absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &v));
      list ? r->AddInt64(message, field, v) : r->SetInt64(message, field, v);
      return;
    }
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      double v;
      STRATA_CHECK(absl::SimpleAtod(absl::string_view(text.data(), text.size()), &v));
      list ? r->AddDouble(message, field, v) : r->SetDouble(message, field, v);
      return;
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      STRATA_CHECK(text == "true" || text == "false");
      list ? r->AddBool(message, field, text == "true") : r->SetBool(message, field, text == "true");
      return;
    case FieldDescriptor::CPPTYPE_STRING:
      list ? r->AddString(message, field, std::string(text)) : r->SetString(message, field, std::string(text));
      return;
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto* v = field->enum_type()->FindValueByName(std::string(text));
      STRATA_CHECK(v != nullptr);
      list ? r->AddEnum(message, field, v) : r->SetEnum(message, field, v);
      return;
    }
    default:
      STRATA_CHECK(false);
  }
}

void SetDefault(const FieldDescriptor* field, const std::string& text, Message* message) {
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    STRATA_CHECK(!field->is_repeated());
    Message* sub = message->GetReflection()->MutableMessage(message, field);
    STRATA_CHECK(google::protobuf::TextFormat::ParseFromString(text, sub));
  } else if (field->is_repeated()) {
    for (absl::string_view part : absl::StrSplit(text, ',')) {
      part = absl::StripAsciiWhitespace(part);
      SetScalar(field, {part.data(), part.size()}, message);
    }
  } else {
    SetScalar(field, text, message);
  }
}

absl::Status CheckRange(const v1::FieldSchema& schema, const std::string& path, double value) {
  if (std::isnan(value)) return InvalidArgument(path, ": must be a number, got nan");
  const auto refuse = [&](const char* rule, double bound) {
    return InvalidArgument(path, ": must be ", rule, " ", bound, ", got ", value);
  };
  if (schema.has_at_least() && value < schema.at_least()) return refuse(">=", schema.at_least());
  if (schema.has_above() && value <= schema.above()) return refuse(">", schema.above());
  if (schema.has_at_most() && value > schema.at_most()) return refuse("<=", schema.at_most());
  if (schema.has_below() && value >= schema.below()) return refuse("<", schema.below());
  return absl::OkStatus();
}

absl::Status CheckName(const v1::FieldSchema& schema, const std::string& path, const std::string& value) {
  if (schema.one_of().empty()) return absl::OkStatus();
  for (const std::string& allowed : schema.one_of()) {
    if (allowed == value) return absl::OkStatus();
  }
  return InvalidArgument(path, ": must be one of ", absl::StrJoin(schema.one_of(), ", "), ", got \"", value, "\"");
}

absl::Status CheckEnum(const FieldDescriptor* field, const std::string& path, int value) {
  if (field->enum_type()->FindValueByNumber(value) != nullptr) return absl::OkStatus();
  return InvalidArgument(path, ": must be a value of ", field->enum_type()->name(), ", got ", value);
}

// Checks a scalar, or element `i` of a list (i < 0: no list).
absl::Status CheckScalar(const FieldDescriptor* field, const v1::FieldSchema& schema, const std::string& path,
                         const Message& message, int i) {
  const Reflection* r = message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64: {
      const int64_t v = i < 0 ? r->GetInt64(message, field) : r->GetRepeatedInt64(message, field, i);
      return CheckRange(schema, path, static_cast<double>(v));
    }
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return CheckRange(schema, path, i < 0 ? r->GetDouble(message, field) : r->GetRepeatedDouble(message, field, i));
    case FieldDescriptor::CPPTYPE_STRING:
      return CheckName(schema, path, i < 0 ? r->GetString(message, field) : r->GetRepeatedString(message, field, i));
    case FieldDescriptor::CPPTYPE_ENUM:
      return CheckEnum(field, path,
                       i < 0 ? r->GetEnumValue(message, field) : r->GetRepeatedEnumValue(message, field, i));
    default:
      return absl::OkStatus();
  }
}

// The range of a wrapped list (Ints, Doubles, Padding's size) stands at the field that holds the wrapper.
absl::Status CheckWrapped(const v1::FieldSchema& schema, const std::string& path, const Message& wrapper) {
  if (wrapper.GetDescriptor() == v1::Ints::descriptor()) {
    const auto& values = static_cast<const v1::Ints&>(wrapper).values();
    for (int i = 0; i < values.size(); ++i) {
      STRATA_RETURN_IF_ERROR(CheckRange(schema, absl::StrCat(path, "[", i, "]"), static_cast<double>(values[i])));
    }
  } else if (wrapper.GetDescriptor() == v1::Doubles::descriptor()) {
    const auto& values = static_cast<const v1::Doubles&>(wrapper).values();
    for (int i = 0; i < values.size(); ++i) {
      STRATA_RETURN_IF_ERROR(CheckRange(schema, absl::StrCat(path, "[", i, "]"), values[i]));
    }
  }
  return absl::OkStatus();
}

// The enum value 0 of a type whose zero is "UNSPECIFIED" counts as absent.
bool IsUnspecified(const FieldDescriptor* field, const Message& message) {
  if (field->cpp_type() != FieldDescriptor::CPPTYPE_ENUM || field->is_repeated()) return false;
  if (message.GetReflection()->GetEnumValue(message, field) != 0) return false;
  const std::string& name = field->enum_type()->value(0)->name();
  return name.size() >= 11 && name.compare(name.size() - 11, 11, "UNSPECIFIED") == 0;
}

const std::string& DialectName(v1::Dialect d) { return v1::Dialect_Name(d); }

// What a walk needs besides the message.
struct Walk {
  v1::Dialect dialect;
  bool fill = true;  // false: check only
  int axes = 0;      // spatial axes of the component around, 0: unknown
};

absl::Status Visit(const Walk& walk, const std::string& path, Message* message);

// One element per spatial axis, or one for all.
absl::Status CheckPerAxis(const Walk& walk, const FieldDescriptor* field, const std::string& path,
                          const Message& message) {
  if (walk.axes == 0) return absl::OkStatus();
  int n = -1;
  if (field->is_repeated()) {
    n = message.GetReflection()->FieldSize(message, field);
  } else if (field->message_type() == v1::Padding::descriptor()) {
    const auto& padding = static_cast<const v1::Padding&>(message.GetReflection()->GetMessage(message, field));
    if (padding.has_size()) n = padding.size().values_size();
  }
  if (n < 0 || n == 1 || n == walk.axes || (n == 0 && field->is_repeated())) return absl::OkStatus();
  return InvalidArgument(path, ": must have 1 or ", walk.axes, " elements, got ", n);
}

absl::Status VisitPresent(const Walk& walk, const FieldDescriptor* field, const v1::FieldSchema& schema,
                          const std::string& path, Message* message) {
  const Reflection* r = message->GetReflection();
  const bool is_message = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
  if (schema.per_axis()) STRATA_RETURN_IF_ERROR(CheckPerAxis(walk, field, path, *message));
  Walk inside = walk;
  if (schema.keep_absent()) inside.fill = false;
  if (field->is_repeated()) {
    for (int i = 0, n = r->FieldSize(*message, field); i < n; ++i) {
      const std::string at = absl::StrCat(path, "[", i, "]");
      if (is_message) {
        STRATA_RETURN_IF_ERROR(Visit(inside, at, r->MutableRepeatedMessage(message, field, i)));
      } else {
        STRATA_RETURN_IF_ERROR(CheckScalar(field, schema, at, *message, i));
      }
    }
    return absl::OkStatus();
  }
  if (!is_message) return CheckScalar(field, schema, path, *message, -1);
  STRATA_RETURN_IF_ERROR(CheckWrapped(schema, path, r->GetMessage(*message, field)));
  if (field->containing_oneof() != nullptr && field->message_type() != v1::Padding::descriptor()) {
    if (const int axes = SpatialAxes(field->name()); axes > 0) inside.axes = axes;
  }
  return Visit(inside, path, r->MutableMessage(message, field));
}

absl::Status VisitField(const Walk& walk, const FieldDescriptor* field, const std::string& path, Message* message) {
  const Reflection* r = message->GetReflection();
  const v1::FieldSchema& schema = SchemaOfField(field);
  bool present = field->is_repeated() ? r->FieldSize(*message, field) > 0
                                      : (!field->has_presence() || r->HasField(*message, field));
  if (present && field->has_presence() && IsUnspecified(field, *message)) {
    r->ClearField(message, field);
    present = false;
  }
  const bool other_dialect = schema.only() != v1::DIALECT_UNSPECIFIED && schema.only() != walk.dialect;
  if (other_dialect) {
    if (!present) return absl::OkStatus();
    return InvalidArgument(path, ": exists in ", DialectName(schema.only()), " only, got one in ",
                           DialectName(walk.dialect));
  }
  if (!present) {
    const std::string& text = DefaultText(schema, walk.dialect);
    if (!walk.fill) return absl::OkStatus();
    if (text.empty()) {
      return schema.required() ? InvalidArgument(path, ": must be set, got nothing") : absl::OkStatus();
    }
    SetDefault(field, text, message);
  }
  return VisitPresent(walk, field, schema, path, message);
}

absl::Status Visit(const Walk& walk, const std::string& path, Message* message) {
  const Descriptor* d = message->GetDescriptor();
  // Models are completed by their own rules, definitions with the component that uses them.
  if (d == v1::Model::descriptor() || d == v1::CustomComponent::descriptor()) return absl::OkStatus();
  if (d == v1::CustomLayer::descriptor() || d == v1::CustomLoss::descriptor() || d == v1::CustomMetric::descriptor()) {
    STRATA_RETURN_IF_ERROR(CompleteUse(walk.dialect, path, message));
  }
  const Reflection* r = message->GetReflection();
  for (int i = 0; i < d->real_oneof_decl_count(); ++i) {
    const OneofDescriptor* oneof = d->oneof_decl(i);
    const FieldDescriptor* set = r->GetOneofFieldDescriptor(*message, oneof);
    if (set == nullptr) {
      if (d != v1::Activation::descriptor())
        return InvalidArgument(path, ".", oneof->name(), ": must be set, got nothing");
      static_cast<v1::Activation*>(message)->mutable_linear();
      continue;
    }
    const v1::Dialect only = SchemaOfComponent(set).only();
    if (only != v1::DIALECT_UNSPECIFIED && only != walk.dialect) {
      return InvalidArgument(path, ".", set->name(), ": exists in ", DialectName(only), " only, got one in ",
                             DialectName(walk.dialect));
    }
  }
  for (int i = 0; i < d->field_count(); ++i) {
    const FieldDescriptor* field = d->field(i);
    if (field->real_containing_oneof() != nullptr && !r->HasField(*message, field)) continue;
    if (field->is_map()) continue;
    STRATA_RETURN_IF_ERROR(
        VisitField(walk, field, absl::StrCat(path, path.empty() ? "" : ".", field->name()), message));
  }
  return walk.fill ? CheckRules(walk.dialect, walk.axes, path, *message) : absl::OkStatus();
}

}  // namespace

absl::Status Fill(v1::Dialect dialect, std::string_view path, Message* message) {
  if (dialect != v1::PYTORCH && dialect != v1::KERAS) {
    return InvalidArgument("dialect: must be PYTORCH or KERAS, got ", static_cast<int>(dialect));
  }
  return Visit({.dialect = dialect}, std::string(path), message);
}

absl::Status CheckField(v1::Dialect dialect, int spatial_axes, const std::string& path, const FieldDescriptor* field,
                        Message* message) {
  return VisitPresent({.dialect = dialect, .fill = false, .axes = spatial_axes}, field, SchemaOfField(field), path,
                      message);
}

}  // namespace strata::nn
