// Fields as JSON values: numbers, names, lists, and the wrappers around them. The inverse of values.cc.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/feature_columns.h"
#include "engine/import/writer.h"
#include "engine/nn/schema.h"
#include "strata/v1/attention_layers.pb.h"
#include "strata/v1/feature_columns.pb.h"
#include "strata/v1/losses.pb.h"

namespace strata::framework {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// JSON has no infinities: the frameworks' texts stand for them.
Json Number(double v) {
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
  return v;
}

Json EnumText(v1::Dialect dialect, const EnumValueDescriptor* value) {
  const auto* type = value->type();
  const bool keras = dialect == v1::KERAS;
  if (type == v1::Reduction_descriptor()) {
    if (value->number() == v1::MEAN && keras) return "auto";
    if (value->number() == v1::BATCH_MEAN) return "batchmean";
  }
  if (type == v1::VarianceScalingInitializer::Distribution_descriptor() && keras &&
      value->number() == v1::VarianceScalingInitializer::NORMAL) {
    return "untruncated_normal";
  }
  if (type == v1::Gelu::Approximation_descriptor() && keras) return value->number() == v1::Gelu::TANH;
  return absl::AsciiStrToLower(value->name());
}

// Keras casts these to float32 arrays before it writes them.
bool IsFloat32(const Message& message) {
  const std::string& name = message.GetDescriptor()->name();
  return name == "Relu" || name == "LeakyRelu" || name == "Elu" || name == "ThresholdedRelu";
}

Json Scalar(const WriteRules& rules, const Message& message, const FieldDescriptor* field, int i) {
  const Reflection* r = message.GetReflection();
  const bool list = i >= 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return list ? r->GetRepeatedInt64(message, field, i) : r->GetInt64(message, field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return list ? r->GetRepeatedUInt64(message, field, i) : r->GetUInt64(message, field);
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      const double v = list ? r->GetRepeatedDouble(message, field, i) : r->GetDouble(message, field);
      return Number(rules.dialect == v1::KERAS && IsFloat32(message) ? RoundToFloat32(v) : v);
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      return list ? r->GetRepeatedBool(message, field, i) : r->GetBool(message, field);
    case FieldDescriptor::CPPTYPE_STRING:
      return list ? r->GetRepeatedString(message, field, i) : r->GetString(message, field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumText(rules.dialect, list ? r->GetRepeatedEnum(message, field, i) : r->GetEnum(message, field));
    default:
      STRATA_CHECK(false);
  }
}

// ((1, 0), (2, 1)) from one number, one for each axis, or pairs one after the other.
Json Pairs(const Json& list, int axes) {
  const int n = static_cast<int>(list.size());
  Json pairs = Json::array();
  for (int a = 0; a < axes; ++a) {
    const bool both = n == 2 * axes;
    const Json& low = both ? list[2 * a] : list[n == 1 ? 0 : a];
    const Json& high = both ? list[2 * a + 1] : list[n == 1 ? 0 : a];
    pairs.push_back({low, high});
  }
  return axes == 1 ? pairs[0] : pairs;
}

// A list of which the framework writes a list of one as its element.
bool IsOneOrList(const FieldDescriptor* field) {
  const std::string& name = field->name();
  return name == "axis" || name == "axes" || name == "output_shape";
}

Json ListForm(const WriteRules& rules, const FieldDescriptor* field, Json list) {
  const bool keras = rules.dialect == v1::KERAS;
  const bool per_axis = nn::SchemaOfField(field).per_axis() || (field->name() == "size" && keras);
  if (keras && (field->name() == "padding" || field->name() == "cropping") && rules.spatial_axes > 0) {
    return Pairs(list, rules.spatial_axes);
  }
  if (field->name() == "output_size") {
    for (Json& v : list) v = v == 0 ? Json() : v;  // this axis keeps its size
  }
  if (list.size() != 1) return list;
  // UpSampling1D writes its factor as a number.
  if (keras && per_axis && rules.spatial_axes > (field->name() == "size" ? 1 : 0)) {
    return Json(static_cast<size_t>(rules.spatial_axes), list[0]);
  }
  const bool pytorch_padding = !keras && field->name() == "padding";
  return per_axis || pytorch_padding || IsOneOrList(field) ? list[0] : list;
}

absl::StatusOr<Json> ListValue(const WriteRules& rules, const Message& message, const FieldDescriptor* field) {
  const Reflection* r = message.GetReflection();
  Json list = Json::array();
  for (int i = 0, n = r->FieldSize(message, field); i < n; ++i) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      list.push_back(Scalar(rules, message, field, i));
    } else if (field->message_type() == v1::Layer::descriptor()) {
      STRATA_ASSIGN_OR_RETURN(
          Json layer,
          WriteLayer(rules.dialect, static_cast<const v1::Layer&>(r->GetRepeatedMessage(message, field, i))));
      list.push_back(std::move(layer));
    } else if (field->message_type() == v1::FeatureColumn::descriptor()) {
      STRATA_ASSIGN_OR_RETURN(
          Json column,
          WriteFeatureColumn(static_cast<const v1::FeatureColumn&>(r->GetRepeatedMessage(message, field, i))));
      list.push_back(std::move(column));
    } else {
      return absl::UnimplementedError(absl::StrCat(field->full_name(), ": has no form in this framework's words"));
    }
  }
  if (list.empty()) return Json();
  return ListForm(rules, field, std::move(list));
}

// Numbers in the shape that the field `<name>_shape` gives, if there is one.
Json Nested(const v1::Doubles& doubles, const std::vector<int64_t>& shape, size_t depth, int* next) {
  Json list = Json::array();
  const int64_t n = depth < shape.size() ? shape[depth] : doubles.values_size();
  for (int64_t i = 0; i < n; ++i) {
    list.push_back(depth + 1 < shape.size() ? Nested(doubles, shape, depth + 1, next)
                                            : Number(doubles.values((*next)++)));
  }
  return list;
}

Json DoublesValue(const Message& message, const FieldDescriptor* field) {
  const Reflection* r = message.GetReflection();
  const auto& doubles = static_cast<const v1::Doubles&>(r->GetMessage(message, field));
  const auto* shape_field = message.GetDescriptor()->FindFieldByName(field->name() + "_shape");
  std::vector<int64_t> shape;
  int64_t count = 1;
  for (int i = 0; shape_field != nullptr && i < r->FieldSize(message, shape_field); ++i) {
    shape.push_back(r->GetRepeatedInt64(message, shape_field, i));
    count *= shape.back();
  }
  if (count != doubles.values_size()) shape.clear();
  int next = 0;
  return Nested(doubles, shape, 0, &next);
}

Json IntsValue(const WriteRules& rules, const v1::Ints& ints, bool per_axis) {
  Json list = Json::array();
  for (int64_t v : ints.values()) list.push_back(v == -1 ? Json() : Json(v));
  if (per_axis && list.size() == 1) {
    if (rules.dialect == v1::PYTORCH) return list[0];
    return Json(static_cast<size_t>(std::max(rules.spatial_axes, 1)), list[0]);
  }
  return list;
}

absl::StatusOr<Json> MessageValue(const WriteRules& rules, const Message& message, const FieldDescriptor* field) {
  const auto* type = field->message_type();
  const Message& sub = message.GetReflection()->GetMessage(message, field);
  if (type == v1::Padding::descriptor()) {
    const auto& padding = static_cast<const v1::Padding&>(sub);
    if (padding.has_size()) return IntsValue(rules, padding.size(), true);
    return Json(absl::AsciiStrToLower(v1::Padding::Mode_Name(padding.mode())));
  }
  if (type == v1::Activation::descriptor()) return WriteActivation(static_cast<const v1::Activation&>(sub));
  if (type == v1::Initializer::descriptor()) return WriteInitializer(static_cast<const v1::Initializer&>(sub));
  if (type == v1::Regularizer::descriptor()) return WriteRegularizer(static_cast<const v1::Regularizer&>(sub));
  if (type == v1::Constraint::descriptor()) return WriteConstraint(static_cast<const v1::Constraint&>(sub));
  if (type == v1::Ints::descriptor()) {
    return IntsValue(rules, static_cast<const v1::Ints&>(sub), field->name() == "output_padding");
  }
  if (type == v1::Doubles::descriptor()) return DoublesValue(message, field);
  if (type == v1::FeatureColumn::descriptor()) return WriteFeatureColumn(static_cast<const v1::FeatureColumn&>(sub));
  if (type == v1::Layer::descriptor()) return WriteLayer(rules.dialect, static_cast<const v1::Layer&>(sub));
  if (type == v1::TransformerEncoderLayer::descriptor() || type == v1::TransformerDecoderLayer::descriptor()) {
    STRATA_ASSIGN_OR_RETURN(Json config, WriteConfig(rules.dialect, field, sub));
    return Json{{"class_name", type->name()}, {"config", std::move(config)}};
  }
  return absl::UnimplementedError(absl::StrCat(field->full_name(), ": has no form in this framework's words"));
}

}  // namespace

Json WriteShape(const Shape& shape) {
  Json list = Json::array();
  for (int64_t d : shape) list.push_back(d < 0 ? Json() : Json(d));
  return list;
}

absl::StatusOr<Json> WriteValue(const WriteRules& rules, const Message& message, const FieldDescriptor* field) {
  if (field->is_repeated()) return ListValue(rules, message, field);
  if (field->has_presence() && !message.GetReflection()->HasField(message, field)) {
    const bool activation =
        field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && field->message_type() == v1::Activation::descriptor();
    return activation ? Json("linear") : Json();
  }
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) return MessageValue(rules, message, field);
  return Scalar(rules, message, field, -1);
}

}  // namespace strata::framework
