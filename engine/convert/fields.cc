#include "engine/convert/fields.h"

#include <algorithm>

#include "engine/base/status.h"
#include "engine/nn/schema.h"
#include "google/protobuf/text_format.h"

namespace strata::convert {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Fields that say nothing about the function: sizes that are checked, seeds, choices between equal implementations.
constexpr const char* kInforming[] = {"in_features", "in_channels",    "num_features", "num_channels",
                                      "input_size",  "implementation", "unroll",       "input_length",
                                      "seed",        "sparse",         "inplace"};

bool IsSet(const Message& m, const FieldDescriptor* field) {
  return field->is_repeated() ? m.GetReflection()->FieldSize(m, field) > 0 : m.GetReflection()->HasField(m, field);
}

bool SameType(const FieldDescriptor* a, const FieldDescriptor* b) {
  return a->cpp_type() == b->cpp_type() && a->is_repeated() == b->is_repeated() &&
         (a->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || a->message_type() == b->message_type()) &&
         (a->cpp_type() != FieldDescriptor::CPPTYPE_ENUM || a->enum_type() == b->enum_type());
}

void CopyScalar(const Message& from, const FieldDescriptor* f, Message* to, const FieldDescriptor* g) {
  const Reflection *r = from.GetReflection(), *w = to->GetReflection();
  switch (f->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return w->SetInt64(to, g, r->GetInt64(from, f));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return w->SetDouble(to, g, r->GetDouble(from, f));
    case FieldDescriptor::CPPTYPE_BOOL:
      return w->SetBool(to, g, r->GetBool(from, f));
    case FieldDescriptor::CPPTYPE_STRING:
      return w->SetString(to, g, r->GetString(from, f));
    case FieldDescriptor::CPPTYPE_ENUM:
      return w->SetEnumValue(to, g, r->GetEnumValue(from, f));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return w->MutableMessage(to, g)->CopyFrom(r->GetMessage(from, f));
    default:
      STRATA_CHECK(false);
  }
}

void CopyField(const Message& from, const FieldDescriptor* f, Message* to, const FieldDescriptor* g) {
  if (!f->is_repeated()) return CopyScalar(from, f, to, g);
  const Reflection *r = from.GetReflection(), *w = to->GetReflection();
  for (int i = 0, n = r->FieldSize(from, f); i < n; ++i) {
    switch (f->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT64:
        w->AddInt64(to, g, r->GetRepeatedInt64(from, f, i));
        break;
      case FieldDescriptor::CPPTYPE_DOUBLE:
        w->AddDouble(to, g, r->GetRepeatedDouble(from, f, i));
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        w->AddString(to, g, r->GetRepeatedString(from, f, i));
        break;
      case FieldDescriptor::CPPTYPE_MESSAGE:
        w->AddMessage(to, g)->CopyFrom(r->GetRepeatedMessage(from, f, i));
        break;
      default:
        STRATA_CHECK(false);
    }
  }
}

// Whether filling in defaults gives the field the value that it has.
bool AtDefault(v1::Dialect dialect, const v1::Layer& layer, const FieldDescriptor* field) {
  v1::Layer without = layer;
  MutableAttrs(&without)->GetReflection()->ClearField(MutableAttrs(&without), field);
  if (!nn::Fill(dialect, "", &without).ok()) return false;
  v1::Layer filled = layer;
  if (!nn::Fill(dialect, "", &filled).ok()) return false;
  return AttrsOf(without).SerializeAsString() == AttrsOf(filled).SerializeAsString();
}

std::string TextOf(const Message& m, const FieldDescriptor* field) {
  google::protobuf::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  std::string text;
  if (!field->is_repeated()) {
    printer.PrintFieldValueToString(m, field, -1, &text);
    return text;
  }
  for (int i = 0, n = m.GetReflection()->FieldSize(m, field); i < n; ++i) {
    std::string one;
    printer.PrintFieldValueToString(m, field, i, &one);
    absl::StrAppend(&text, i == 0 ? "[" : ", ", one);
  }
  return text + "]";
}

bool IsTrainingOnly(const FieldDescriptor* field) {
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    const std::string& type = field->message_type()->name();
    return type == "Initializer" || type == "Regularizer" || type == "Constraint";
  }
  return field->name() == "unit_forget_bias" || field->name() == "init" || field->name() == "scale_grad_by_freq" ||
         field->name() == "padding_idx";
}

}  // namespace

const Message& AttrsOf(const v1::Layer& layer) { return layer.GetReflection()->GetMessage(layer, nn::KindOf(layer)); }

Message* MutableAttrs(v1::Layer* layer) { return layer->GetReflection()->MutableMessage(layer, nn::KindOf(*layer)); }

v1::Layer MakeLayer(const std::string& kind) {
  v1::Layer layer;
  const FieldDescriptor* member = v1::Layer::descriptor()->FindFieldByName(kind);
  STRATA_CHECK(member != nullptr && member->real_containing_oneof() != nullptr);
  layer.GetReflection()->MutableMessage(&layer, member);
  return layer;
}

std::vector<LeftOut> CopyFields(const v1::Layer& from, v1::Dialect from_dialect, v1::Dialect to,
                                const std::string& kind, const std::vector<std::string>& handled, v1::Layer* layer) {
  *layer = MakeLayer(kind);
  if (from.has_trainable()) layer->set_trainable(from.trainable());
  const Message& old = AttrsOf(from);
  Message* made = MutableAttrs(layer);
  std::vector<LeftOut> left;
  for (int i = 0; i < old.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* f = old.GetDescriptor()->field(i);
    if (!IsSet(old, f) || std::count(handled.begin(), handled.end(), f->name()) > 0) continue;
    const bool activation =
        f->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && f->message_type()->name() == "Activation";
    if (activation) continue;
    const FieldDescriptor* g = made->GetDescriptor()->FindFieldByName(f->name());
    const v1::Dialect only = g == nullptr ? v1::DIALECT_UNSPECIFIED : nn::SchemaOfField(g).only();
    if (g != nullptr && SameType(f, g) && (only == v1::DIALECT_UNSPECIFIED || only == to)) {
      CopyField(old, f, made, g);
      continue;
    }
    const auto informs = [&](const char* name) { return f->name() == name; };
    if (f->name() == "data_format" || std::any_of(std::begin(kInforming), std::end(kInforming), informs)) continue;
    if (AtDefault(from_dialect, from, f)) continue;
    left.push_back({f->name(), TextOf(old, f), IsTrainingOnly(f)});
  }
  return left;
}

void ClearDefaults(v1::Dialect dialect, v1::Layer* layer) {
  if (nn::KindOf(*layer) == nullptr || layer->has_model() || layer->has_custom()) return;
  Message* m = MutableAttrs(layer);
  for (int i = 0; i < m->GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* f = m->GetDescriptor()->field(i);
    if (!IsSet(*m, f)) continue;
    const v1::FieldSchema& schema = nn::SchemaOfField(f);
    const bool differ = !schema.pytorch_default().empty() || !schema.keras_default().empty();
    if ((differ && schema.only() == v1::DIALECT_UNSPECIFIED) || !AtDefault(dialect, *layer, f)) continue;
    m->GetReflection()->ClearField(m, f);
  }
}

}  // namespace strata::convert
