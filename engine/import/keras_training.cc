// compile()'s arguments as Keras keeps them in files: `training_config` of HDF5 files, `compile_config` of archives.
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/framework.h"
#include "engine/import/json.h"

namespace strata {
namespace {

// One value for each output: given for all, in their order, or by name.
const Json& ForOutput(const Json& value, const v1::Model& model, int output) {
  static const Json& null = *new Json();
  if (value.is_array()) return output < static_cast<int>(value.size()) ? value[output] : null;
  if (value.is_object() && !value.contains("class_name")) return Member(value, model.outputs(output).name().c_str());
  return value;
}

// "Custom>Adam": a registered name.
Json WithoutPackage(Json object) {
  if (!object.is_object() || !Member(object, "class_name").is_string()) return object;
  std::string name = object["class_name"].get<std::string>();
  if (const size_t at = name.rfind('>'); at != std::string::npos) name = name.substr(at + 1);
  object["class_name"] = name;
  return object;
}

// Metrics by name, class, or wrapped function; those that we lack are left out.
void AddMetrics(const Json& value, const std::string& output, v1::TrainingConfig* config) {
  if (value.is_array()) {
    for (const Json& one : value) AddMetrics(one, output, config);
    return;
  }
  Json metric = value;
  if (Member(value, "class_name") == "MeanMetricWrapper") metric = Member(Member(value, "config"), "fn");
  if (metric.is_null()) return;
  auto imported = ImportMetric(v1::KERAS, metric.dump());
  if (!imported.ok()) return;
  v1::NamedMetric* named = config->add_metrics();
  *named->mutable_metric() = *std::move(imported);
  named->set_output(output);
}

}  // namespace

absl::StatusOr<v1::TrainingConfig> ImportKerasTraining(const v1::Model& model, std::string_view text) {
  STRATA_ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  v1::TrainingConfig config;
  const Json optimizer = WithoutPackage(Member(json, "optimizer_config").is_null() ? Member(json, "optimizer")
                                                                                   : Member(json, "optimizer_config"));
  if (!optimizer.is_null()) {
    STRATA_ASSIGN_OR_RETURN(*config.mutable_optimizer(), ImportOptimizer(v1::KERAS, optimizer.dump()));
  }
  for (int i = 0; i < model.outputs_size(); ++i) {
    const Json& loss = ForOutput(Member(json, "loss"), model, i);
    if (loss.is_null()) continue;
    v1::Objective* objective = config.add_objectives();
    STRATA_ASSIGN_OR_RETURN(*objective->mutable_loss(), ImportLoss(v1::KERAS, WithoutPackage(loss).dump()));
    // A function given to compile() is reduced as its class is.
    objective->mutable_loss()->set_function_form(false);
    if (model.outputs_size() > 1) objective->set_output(model.outputs(i).name());
    const Json& weight = ForOutput(Member(json, "loss_weights"), model, i);
    if (weight.is_number()) objective->set_weight(weight.get<double>());
  }
  const Json& metrics = Member(json, "metrics");
  const bool nested = metrics.is_array() && !metrics.empty() && metrics[0].is_array();
  if (model.outputs_size() == 1 || !nested) {
    if (model.outputs_size() == 1) AddMetrics(metrics, "", &config);
  } else {
    for (int i = 0; i < model.outputs_size(); ++i) {
      AddMetrics(ForOutput(metrics, model, i), model.outputs(i).name(), &config);
    }
  }
  return config;
}

absl::StatusOr<std::string> ExportKerasTraining(const v1::TrainingConfig& config) {
  Json losses = Json::array(), weights = Json::array();
  for (const v1::Objective& objective : config.objectives()) {
    STRATA_ASSIGN_OR_RETURN(const std::string loss, ExportLoss(v1::KERAS, objective.loss()));
    losses.push_back(Json::parse(loss));
    weights.push_back(objective.has_weight() ? objective.weight() : 1.0);
  }
  STRATA_ASSIGN_OR_RETURN(const std::string optimizer, ExportOptimizer(v1::KERAS, config.optimizer()));
  return Json({{"loss", losses.size() == 1 ? losses[0] : losses},
               {"metrics", nullptr},
               {"weighted_metrics", nullptr},
               {"loss_weights", weights.size() > 1 ? weights : Json()},
               {"optimizer_config", Json::parse(optimizer)}})
      .dump();
}

}  // namespace strata
