#include "service/core/catalog.h"

#include <iterator>

#include "engine/base/status.h"
#include "google/protobuf/descriptor.h"
#include "service/core/names.h"
#include "strata/v1/losses.pb.h"
#include "strata/v1/metrics.pb.h"
#include "strata/v1/model.pb.h"
#include "strata/v1/optimizers.pb.h"
#include "strata/v1/schedules.pb.h"
#include "strata/v1/schema.pb.h"

namespace strata::service {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

struct Family {
  const char* name;
  const Descriptor* message;  // its oneof "kind" has a member for each component
};

std::string TypeName(const FieldDescriptor& field) {
  if (field.type() == FieldDescriptor::TYPE_MESSAGE) return field.message_type()->name();
  if (field.type() == FieldDescriptor::TYPE_ENUM) return field.enum_type()->name();
  return field.type_name();
}

void Describe(const char* family, const FieldDescriptor& member, v1::ComponentInfo* info) {
  info->set_family(family);
  info->set_name(member.name());
  info->set_message(member.message_type()->full_name());
  *info->mutable_schema() = member.options().GetExtension(v1::component);
  for (int i = 0; i < member.message_type()->field_count(); ++i) {
    const FieldDescriptor& field = *member.message_type()->field(i);
    v1::FieldInfo* out = info->add_fields();
    out->set_name(field.name());
    out->set_type(TypeName(field));
    out->set_repeated(field.is_repeated());
    *out->mutable_schema() = field.options().GetExtension(v1::field);
  }
}

}  // namespace

absl::StatusOr<v1::ListComponentsResponse> ListComponents(const std::string& wanted) {
  const Family families[] = {{"layer", v1::Layer::descriptor()},
                             {"activation", v1::Activation::descriptor()},
                             {"loss", v1::Loss::descriptor()},
                             {"metric", v1::Metric::descriptor()},
                             {"optimizer", v1::Optimizer::descriptor()},
                             {"initializer", v1::Initializer::descriptor()},
                             {"constraint", v1::Constraint::descriptor()},
                             {"schedule", v1::Schedule::descriptor()}};
  v1::ListComponentsResponse response;
  bool known = wanted.empty();
  for (const Family& family : families) {
    if (!wanted.empty() && wanted != family.name) continue;
    known = true;
    const auto* kinds = family.message->FindOneofByName("kind");
    STRATA_CHECK(kinds != nullptr);
    for (int i = 0; i < kinds->field_count(); ++i) {
      const FieldDescriptor& member = *kinds->field(i);
      // A whole model as a layer is no component.
      if (member.options().HasExtension(v1::component)) Describe(family.name, member, response.add_components());
    }
  }
  if (!known) {
    return InvalidArgument(
        "family: must be layer, activation, loss, metric, optimizer, initializer, constraint or schedule, got ",
        Quote(wanted));
  }
  return response;
}

}  // namespace strata::service
