// Activations, initializers, regularizers and constraints as Keras serialises them.
#include <nlohmann/json.hpp>

#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/import/writer.h"
#include "engine/nn/schema.h"
#include "google/protobuf/util/message_differencer.h"

namespace strata::framework {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::util::MessageDifferencer;

// Whether reading `name` alone gives `activation`.
bool NameMeans(const std::string& name, const v1::Activation& activation) {
  v1::Activation read;
  if (!SetActivation("", Json(name), &read).ok() || !nn::Fill(v1::KERAS, "", &read).ok()) return false;
  return MessageDifferencer::Equals(read, activation);
}

}  // namespace

double RoundToFloat32(double v) { return static_cast<double>(static_cast<float>(v)); }

Json KerasObject(const char* module, const std::string& class_name, Json config) {
  return {{"module", module}, {"class_name", class_name}, {"config", std::move(config)}, {"registered_name", nullptr}};
}

absl::StatusOr<Json> WriteActivation(const v1::Activation& activation) {
  const FieldDescriptor* kind = nn::KindOf(activation);
  if (kind == nullptr) return Json("linear");
  const v1::ComponentSchema& schema = nn::SchemaOfComponent(kind);
  for (const std::string& name : schema.keras_function()) {
    if (NameMeans(name, activation)) return Json(name);
  }
  // Other arguments than the function's defaults: the layer of that name, as an activation.
  const FieldDescriptor* layer = v1::Layer::descriptor()->FindFieldByName(kind->name());
  if (layer == nullptr || nn::SchemaOfComponent(layer).keras().empty()) {
    return absl::UnimplementedError(absl::StrCat("activation.", kind->name(), ": keras has no form with arguments"));
  }
  const Message& message = activation.GetReflection()->GetMessage(activation, kind);
  STRATA_ASSIGN_OR_RETURN(Json config, WriteConfig(v1::KERAS, layer, message));
  config["name"] = kind->name();
  config["trainable"] = true;
  config["dtype"] = "float32";
  return KerasObject("keras.layers", nn::SchemaOfComponent(layer).keras(0), std::move(config));
}

absl::StatusOr<Json> WriteInitializer(const v1::Initializer& initializer) {
  const FieldDescriptor* kind = nn::KindOf(initializer);
  if (kind == nullptr) return Json();
  // The named members of the variance-scaling family.
  if (initializer.has_variance_scaling()) {
    for (const char* name : {"GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal"}) {
      v1::Initializer named;
      STRATA_RETURN_IF_ERROR(SetInitializer(v1::KERAS, "", Json(name), &named));
      STRATA_RETURN_IF_ERROR(nn::Fill(v1::KERAS, "", &named));
      const auto& scaling = initializer.variance_scaling();
      if (scaling.has_seed()) named.mutable_variance_scaling()->set_seed(scaling.seed());
      if (!MessageDifferencer::Equals(named, initializer)) continue;
      const Json seed = scaling.has_seed() ? Json(scaling.seed()) : Json();
      return KerasObject("keras.initializers", name, {{"seed", seed}});
    }
  }
  const Message& message = initializer.GetReflection()->GetMessage(initializer, kind);
  STRATA_ASSIGN_OR_RETURN(Json config, WriteConfig(v1::KERAS, kind, message));
  return KerasObject("keras.initializers", nn::SchemaOfComponent(kind).keras(0), std::move(config));
}

Json WriteRegularizer(const v1::Regularizer& regularizer) {
  if (regularizer.has_orthogonal()) {
    const v1::OrthogonalRegularizer& r = regularizer.orthogonal();
    return KerasObject("keras.regularizers", "OrthogonalRegularizer",
                       {{"factor", RoundToFloat32(r.factor())}, {"mode", r.mode()}});
  }
  const double l1 = RoundToFloat32(regularizer.l1()), l2 = RoundToFloat32(regularizer.l2());
  if (l2 == 0 && l1 != 0) return KerasObject("keras.regularizers", "L1", {{"l1", l1}});
  if (l1 == 0 && l2 != 0) return KerasObject("keras.regularizers", "L2", {{"l2", l2}});
  return KerasObject("keras.regularizers", "L1L2", {{"l1", l1}, {"l2", l2}});
}

absl::StatusOr<Json> WriteConstraint(const v1::Constraint& constraint) {
  const FieldDescriptor* kind = nn::KindOf(constraint);
  if (kind == nullptr) return Json();
  const Message& message = constraint.GetReflection()->GetMessage(constraint, kind);
  STRATA_ASSIGN_OR_RETURN(Json config, WriteConfig(v1::KERAS, kind, message));
  return KerasObject("keras.constraints", nn::SchemaOfComponent(kind).keras(0), std::move(config));
}

}  // namespace strata::framework
