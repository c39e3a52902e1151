// Definitions written in a framework's words: the inverse of the importer.
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/import/framework.h"
#include "engine/nn/schema.h"

namespace strata {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Keras keeps hyper-parameters that may be scheduled as float32 variables.
double AsFloat32(double v) { return static_cast<double>(static_cast<float>(v)); }

absl::Status WriteOptions(const Message& options, Json* config) {
  const auto* r = options.GetReflection();
  for (int i = 0; i < options.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = options.GetDescriptor()->field(i);
    const v1::FieldSchema& schema = nn::SchemaOfField(field);
    if (schema.only() == v1::PYTORCH) continue;
    const std::string name = nn::ArgumentName(field, v1::KERAS);
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_DOUBLE: {
        const double v = r->GetDouble(options, field);
        (*config)[name] = name == "learning_rate" ? AsFloat32(v) : v;
        break;
      }
      case FieldDescriptor::CPPTYPE_BOOL:
        (*config)[name] = r->GetBool(options, field);
        break;
      default:
        return absl::InternalError(absl::StrCat(field->full_name(), ": no JSON form"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ExportKerasOptimizer(const v1::Optimizer& given) {
  v1::Optimizer optimizer = given;
  STRATA_RETURN_IF_ERROR(nn::Fill(v1::KERAS, "optimizer", &optimizer));
  const FieldDescriptor* kind = nn::KindOf(optimizer);
  Json config = Json::object();
  STRATA_RETURN_IF_ERROR(WriteOptions(optimizer.GetReflection()->GetMessage(optimizer, kind), &config));
  const v1::Clipping& clipping = optimizer.clipping();
  config["weight_decay"] = optimizer.has_weight_decay() ? Json(optimizer.weight_decay()) : Json();
  config["clipnorm"] = clipping.has_norm() ? Json(clipping.norm()) : Json();
  config["global_clipnorm"] = clipping.has_global_norm() ? Json(clipping.global_norm()) : Json();
  config["clipvalue"] = clipping.has_value() ? Json(clipping.value()) : Json();
  // Moving averages of weights are not ours: they are off, with Keras' defaults.
  config["use_ema"] = false;
  config["ema_momentum"] = 0.99;
  config["ema_overwrite_frequency"] = optimizer.has_rmsprop() ? Json(100) : Json();
  config["jit_compile"] = false;
  config["is_legacy_optimizer"] = false;
  return Json({{"class_name", nn::SchemaOfComponent(kind).keras(0)}, {"config", config}}).dump();
}

}  // namespace strata
