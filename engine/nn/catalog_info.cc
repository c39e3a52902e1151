// The catalog as the protos' options describe it, and the frameworks' names of its members.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/nn/schema.h"
#include "strata/v1/common.pb.h"
#include "strata/v1/losses.pb.h"
#include "strata/v1/metrics.pb.h"
#include "strata/v1/model.pb.h"
#include "strata/v1/optimizers.pb.h"
#include "strata/v1/schedules.pb.h"

namespace strata::nn {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

template <typename Names>
bool Contains(const Names& names, std::string_view name) {
  for (const std::string& n : names) {
    if (n == name) return true;
  }
  return false;
}

bool ExistsIn(v1::Dialect only, v1::Dialect dialect) { return only == v1::DIALECT_UNSPECIFIED || only == dialect; }

template <typename Matches>
const FieldDescriptor* FindMember(const Descriptor* family, v1::Dialect dialect, Matches matches) {
  const auto* kind = family->FindOneofByName("kind");
  STRATA_CHECK(kind != nullptr);
  for (int i = 0; i < kind->field_count(); ++i) {
    const v1::ComponentSchema& schema = SchemaOfComponent(kind->field(i));
    if (ExistsIn(schema.only(), dialect) && matches(schema)) return kind->field(i);
  }
  return nullptr;
}

v1::ComponentInfo Describe(const std::string& family, const FieldDescriptor* member) {
  v1::ComponentInfo info;
  info.set_family(family);
  info.set_name(member->name());
  info.set_message(member->message_type()->full_name());
  *info.mutable_schema() = SchemaOfComponent(member);
  for (int i = 0; i < member->message_type()->field_count(); ++i) {
    const FieldDescriptor* field = member->message_type()->field(i);
    v1::FieldInfo* f = info.add_fields();
    f->set_name(field->name());
    f->set_type(field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE ? field->message_type()->name()
                : field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM  ? field->enum_type()->name()
                                                                      : field->type_name());
    f->set_repeated(field->is_repeated());
    *f->mutable_schema() = SchemaOfField(field);
  }
  return info;
}

}  // namespace

const std::vector<std::string>& Families() {
  static const std::vector<std::string>& families = *new std::vector<std::string>{
      "activation", "constraint", "initializer", "layer", "loss", "metric", "optimizer", "schedule"};
  return families;
}

const Descriptor* FamilyDescriptor(std::string_view family) {
  if (family == "activation") return v1::Activation::descriptor();
  if (family == "constraint") return v1::Constraint::descriptor();
  if (family == "initializer") return v1::Initializer::descriptor();
  if (family == "layer") return v1::Layer::descriptor();
  if (family == "loss") return v1::Loss::descriptor();
  if (family == "metric") return v1::Metric::descriptor();
  if (family == "optimizer") return v1::Optimizer::descriptor();
  if (family == "schedule") return v1::Schedule::descriptor();
  return nullptr;
}

std::vector<v1::ComponentInfo> ListComponents(std::string_view family) {
  std::vector<v1::ComponentInfo> all;
  for (const std::string& name : Families()) {
    if (!family.empty() && family != name) continue;
    const auto* kind = FamilyDescriptor(name)->FindOneofByName("kind");
    for (int i = 0; i < kind->field_count(); ++i) {
      // A nested model is a layer, but no component.
      if (kind->field(i)->message_type() != v1::Model::descriptor()) all.push_back(Describe(name, kind->field(i)));
    }
  }
  return all;
}

const v1::ComponentSchema& SchemaOfComponent(const FieldDescriptor* member) {
  return member->options().GetExtension(v1::component);
}

const v1::FieldSchema& SchemaOfField(const FieldDescriptor* field) { return field->options().GetExtension(v1::field); }

const FieldDescriptor* FindClass(const Descriptor* family, v1::Dialect dialect, std::string_view name) {
  return FindMember(family, dialect, [&](const v1::ComponentSchema& s) {
    return Contains(dialect == v1::PYTORCH ? s.pytorch() : s.keras(), name);
  });
}

const FieldDescriptor* FindFunction(const Descriptor* family, v1::Dialect dialect, std::string_view name) {
  return FindMember(family, dialect, [&](const v1::ComponentSchema& s) {
    return Contains(dialect == v1::PYTORCH ? s.pytorch_function() : s.keras_function(), name);
  });
}

const FieldDescriptor* FindArgument(const Descriptor* component, v1::Dialect dialect, std::string_view name) {
  for (int i = 0; i < component->field_count(); ++i) {
    const FieldDescriptor* field = component->field(i);
    const v1::FieldSchema& schema = SchemaOfField(field);
    if (!ExistsIn(schema.only(), dialect)) continue;
    const auto& names = dialect == v1::PYTORCH ? schema.pytorch_name() : schema.keras_name();
    if (names.empty() ? field->name() == name : Contains(names, name)) return field;
  }
  return nullptr;
}

std::string ArgumentName(const FieldDescriptor* field, v1::Dialect dialect) {
  const v1::FieldSchema& schema = SchemaOfField(field);
  const auto& names = dialect == v1::PYTORCH ? schema.pytorch_name() : schema.keras_name();
  return names.empty() ? field->name() : names[0];
}

const FieldDescriptor* KindOf(const Message& message) {
  const auto* kind = message.GetDescriptor()->FindOneofByName("kind");
  return kind == nullptr ? nullptr : message.GetReflection()->GetOneofFieldDescriptor(message, kind);
}

const std::string& KindName(const Message& message) {
  static const std::string& none = *new std::string();
  const auto* kind = KindOf(message);
  return kind == nullptr ? none : kind->name();
}

int SpatialAxes(std::string_view component) {
  const absl::string_view name(component.data(), component.size());
  if (absl::EndsWith(name, "1d")) return 1;
  if (absl::EndsWith(name, "2d")) return 2;
  if (absl::EndsWith(name, "3d")) return 3;
  return 0;
}

}  // namespace strata::nn
