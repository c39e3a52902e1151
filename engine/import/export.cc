// Single components written in a framework's words: the inverse of framework.cc and optimizers.cc.
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/import/custom.h"
#include "engine/import/framework.h"
#include "engine/import/writer.h"
#include "engine/nn/schema.h"

namespace strata {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// A legacy optimizer lists clipping only where there is some, and a decay, which is that of Nadam's momentum.
void AddLegacyOptions(const v1::Optimizer& optimizer, Json* config) {
  (*config)["decay"] = optimizer.has_nadam() ? optimizer.nadam().schedule_decay() : 0.0;
  const v1::Clipping& clipping = optimizer.clipping();
  if (clipping.has_norm()) (*config)["clipnorm"] = clipping.norm();
  if (clipping.has_global_norm()) (*config)["global_clipnorm"] = clipping.global_norm();
  if (clipping.has_value()) (*config)["clipvalue"] = clipping.value();
}

// Keras keeps a rate, which may be scheduled, as a float32 variable; weight decay and clipping stand beside the kind's
// own arguments.
void AddKerasOptions(const v1::Optimizer& optimizer, Json* config) {
  config->erase("schedule_decay");
  if (optimizer.legacy()) return AddLegacyOptions(optimizer, config);
  if ((*config)["learning_rate"].is_number()) {
    (*config)["learning_rate"] = framework::RoundToFloat32((*config)["learning_rate"].get<double>());
  }
  const v1::Clipping& clipping = optimizer.clipping();
  (*config)["weight_decay"] = optimizer.has_weight_decay() ? Json(optimizer.weight_decay()) : Json();
  (*config)["clipnorm"] = clipping.has_norm() ? Json(clipping.norm()) : Json();
  (*config)["global_clipnorm"] = clipping.has_global_norm() ? Json(clipping.global_norm()) : Json();
  (*config)["clipvalue"] = clipping.has_value() ? Json(clipping.value()) : Json();
  const v1::MovingAverage& average = optimizer.moving_average();
  (*config)["use_ema"] = optimizer.has_moving_average();
  (*config)["ema_momentum"] = optimizer.has_moving_average() ? average.momentum() : 0.99;
  (*config)["ema_overwrite_frequency"] = optimizer.has_rmsprop() ? Json(100) : Json();
  if (optimizer.has_moving_average()) {
    (*config)["ema_overwrite_frequency"] =
        average.has_overwrite_frequency() ? Json(average.overwrite_frequency()) : Json();
  }
  (*config)["jit_compile"] = false;
  (*config)["is_legacy_optimizer"] = false;
}

absl::StatusOr<Json> WriteKerasSchedule(const v1::Schedule& schedule) {
  const FieldDescriptor* kind = nn::KindOf(schedule);
  const v1::ComponentSchema& schema = nn::SchemaOfComponent(kind);
  STRATA_ASSIGN_OR_RETURN(
      Json config, framework::WriteConfig(v1::KERAS, kind, schedule.GetReflection()->GetMessage(schedule, kind)));
  config["name"] = Json();
  return Json({{"module", "keras.optimizers.schedules"},
               {"class_name", schema.keras(0)},
               {"config", config},
               {"registered_name", Json()}});
}

// PyTorch's pair `betas` and its weight decay.
void AddPytorchOptions(const v1::Optimizer& optimizer, const Message& options, Json* config) {
  if (config->contains("beta_1") || config->contains("beta_2")) {
    const auto* r = options.GetReflection();
    const auto beta = [&](const char* name) {
      return r->GetDouble(options, options.GetDescriptor()->FindFieldByName(name));
    };
    (*config)["betas"] = {beta("beta_1"), beta("beta_2")};
    config->erase("beta_1");
    config->erase("beta_2");
  }
  const double missing = optimizer.has_adamw() ? 0.01 : 0;
  if (optimizer.has_weight_decay() && optimizer.weight_decay() != missing) {
    (*config)["weight_decay"] = optimizer.weight_decay();
  }
}

}  // namespace

absl::StatusOr<std::string> ExportLayer(v1::Dialect dialect, const v1::Layer& given) {
  v1::Layer layer = given;
  STRATA_RETURN_IF_ERROR(nn::Fill(dialect, "layer", &layer));
  STRATA_ASSIGN_OR_RETURN(const Json json, framework::WriteLayer(dialect, layer));
  return json.dump();
}

absl::StatusOr<std::string> ExportLoss(v1::Dialect dialect, const v1::Loss& given) {
  v1::Loss loss = given;
  STRATA_RETURN_IF_ERROR(nn::Fill(dialect, "loss", &loss));
  if (loss.has_custom()) {
    const v1::CustomLoss& use = loss.custom();
    Json config = framework::WriteCustom(use.definition(), use.hyperparameters());
    if (dialect == v1::KERAS) {
      const v1::Reduction r = use.reduction();
      config["reduction"] = r == v1::SUM ? "sum" : r == v1::NONE ? "none" : "auto";
    }
    return Json({{"class_name", use.definition().name()}, {"config", config}}).dump();
  }
  const FieldDescriptor* kind = nn::KindOf(loss);
  const v1::ComponentSchema& schema = nn::SchemaOfComponent(kind);
  STRATA_ASSIGN_OR_RETURN(Json config,
                          framework::WriteConfig(dialect, kind, loss.GetReflection()->GetMessage(loss, kind)));
  if (dialect == v1::PYTORCH) {
    if (schema.pytorch().empty()) return absl::UnimplementedError(absl::StrCat(kind->name(), ": not in torch.nn"));
    return Json({{"class_name", schema.pytorch(0)}, {"config", config}}).dump();
  }
  if (schema.keras().empty()) return absl::UnimplementedError(absl::StrCat(kind->name(), ": not in keras.losses"));
  // Keras' own classes wrap a function and name it.
  if (!loss.has_focal() && !schema.keras_function().empty()) config["fn"] = schema.keras_function(0);
  return Json({{"class_name", schema.keras(0)}, {"config", config}}).dump();
}

namespace {

// keras.metrics has classes of the names of most losses, and takes the functions of all.
absl::StatusOr<std::string> MetricOfLoss(const v1::Metric& metric) {
  const FieldDescriptor* kind = nn::KindOf(metric.loss());
  if (kind == nullptr) return InvalidArgument("metric.loss.kind: must be set, got nothing");
  const v1::ComponentSchema& schema = nn::SchemaOfComponent(kind);
  const Message& message = metric.loss().GetReflection()->GetMessage(metric.loss(), kind);
  STRATA_ASSIGN_OR_RETURN(Json config, framework::WriteConfig(v1::KERAS, kind, message));
  config.erase("reduction");
  const std::string& name = schema.keras().empty() ? kind->name() : schema.keras(0);
  if (name == "Huber" || name == "BinaryFocalCrossentropy") {
    std::unique_ptr<Message> plain(message.New());
    STRATA_RETURN_IF_ERROR(nn::Fill(v1::KERAS, "metric", plain.get()));
    STRATA_ASSIGN_OR_RETURN(Json defaults, framework::WriteConfig(v1::KERAS, kind, *plain));
    defaults.erase("reduction");
    if (defaults == config) return Json(schema.keras_function(0)).dump();
    return absl::UnimplementedError(absl::StrCat(kind->name(), ": keras.metrics has no such class"));
  }
  config["name"] = metric.name().empty() ? kind->name() : metric.name();
  return Json({{"class_name", name == "LogCosh" ? "LogCoshError" : name}, {"config", config}}).dump();
}

}  // namespace

absl::StatusOr<std::string> ExportMetric(const v1::Metric& given) {
  v1::Metric metric = given;
  STRATA_RETURN_IF_ERROR(nn::Fill(v1::KERAS, "metric", &metric));
  if (metric.has_accuracy()) return Json("accuracy").dump();
  if (metric.has_crossentropy()) return Json("crossentropy").dump();
  if (metric.has_custom()) {
    const v1::CustomMetric& use = metric.custom();
    return Json({{"class_name", use.definition().name()},
                 {"config", framework::WriteCustom(use.definition(), use.hyperparameters())}})
        .dump();
  }
  if (metric.has_loss()) return MetricOfLoss(metric);
  const FieldDescriptor* kind = nn::KindOf(metric);
  if (kind == nullptr) return InvalidArgument("metric.kind: must be set, got nothing");
  const v1::ComponentSchema& schema = nn::SchemaOfComponent(kind);
  if (schema.keras().empty()) return absl::UnimplementedError(absl::StrCat(kind->name(), ": not in keras.metrics"));
  STRATA_ASSIGN_OR_RETURN(Json config,
                          framework::WriteConfig(v1::KERAS, kind, metric.GetReflection()->GetMessage(metric, kind)));
  config["name"] = metric.name().empty() ? kind->name() : metric.name();
  return Json({{"class_name", schema.keras(0)}, {"config", config}}).dump();
}

absl::StatusOr<std::string> ExportOptimizer(v1::Dialect dialect, const v1::Optimizer& given) {
  v1::Optimizer optimizer = given;
  STRATA_RETURN_IF_ERROR(nn::Fill(dialect, "optimizer", &optimizer));
  const FieldDescriptor* kind = nn::KindOf(optimizer);
  const v1::ComponentSchema& schema = nn::SchemaOfComponent(kind);
  const Message& options = optimizer.GetReflection()->GetMessage(optimizer, kind);
  STRATA_ASSIGN_OR_RETURN(Json config, framework::WriteConfig(dialect, kind, options));
  if (dialect == v1::PYTORCH) {
    if (schema.pytorch().empty()) return absl::UnimplementedError(absl::StrCat(kind->name(), ": not in torch.optim"));
    AddPytorchOptions(optimizer, options, &config);
    return Json({{"class_name", schema.pytorch(0)}, {"config", config}}).dump();
  }
  AddKerasOptions(optimizer, &config);
  // A plateau is a callback and no part of the optimizer.
  if (optimizer.has_schedule() && !optimizer.schedule().has_plateau()) {
    STRATA_ASSIGN_OR_RETURN(config["learning_rate"], WriteKerasSchedule(optimizer.schedule()));
  }
  return Json({{"class_name", schema.keras(0)}, {"config", config}}).dump();
}

}  // namespace strata
