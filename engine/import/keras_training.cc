// compile()'s arguments as Keras keeps them in files: `training_config` of HDF5 files, `compile_config` of archives.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/import/framework.h"
#include "engine/import/keras3.h"
#include "engine/import/writer.h"
#include "engine/nn/metrics/metric.h"

namespace strata {
namespace {

// One value for each output: given for all, in their order, or by name.
const Json& ForOutput(const Json& value, const v1::Model& model, int output) {
  static const Json& null = *new Json();
  if (value.is_array()) return output < static_cast<int>(value.size()) ? value[output] : null;
  if (value.is_object() && !value.contains("class_name")) return Member(value, model.outputs(output).name().c_str());
  return value;
}

std::string PathOf(const char* argument, const Json& value, const v1::Model& model, int output) {
  if (value.is_array()) return absl::StrCat(argument, "[", output, "]");
  if (value.is_object() && !value.contains("class_name")) {
    return absl::StrCat(argument, ".", model.outputs(output).name());
  }
  return argument;
}

// "Custom>Adam": a registered name.
Json WithoutPackage(Json object) {
  if (!object.is_object() || !Member(object, "class_name").is_string()) return object;
  std::string name = object["class_name"].get<std::string>();
  if (const size_t at = name.rfind('>'); at != std::string::npos) name = name.substr(at + 1);
  object["class_name"] = name;
  return object;
}

// tf.keras takes an optimizer for a legacy one unless its configuration says otherwise. Keras 3, which has none, does
// not say so, but lists a moving average.
bool IsLegacy(const Json& optimizer) {
  const Json& config = Member(optimizer, "config");
  if (!config.is_object() || config.empty()) return false;
  return config.contains("is_legacy_optimizer") ? config["is_legacy_optimizer"] == true : !config.contains("use_ema");
}

// Legacy optimizers divide the rate by 1 + decay * iterations; Nadam's decay is that of its momentum.
absl::Status SetLegacyDecay(Json* optimizer) {
  if (!optimizer->is_object() || !Member(*optimizer, "config").is_object()) return absl::OkStatus();
  Json& config = (*optimizer)["config"];
  const Json decay = Member(config, "decay");
  config.erase("decay");
  if (Member(*optimizer, "class_name") == "Nadam") {
    config["schedule_decay"] = decay.is_null() ? Json(0.004) : decay;
    return absl::OkStatus();
  }
  if (!decay.is_number() || decay == 0) return absl::OkStatus();
  if (!Member(config, "learning_rate").is_number()) {
    return absl::UnimplementedError(absl::StrCat("optimizer.decay: must be 0 beside a schedule, got ", decay.dump()));
  }
  config["learning_rate"] = {{"class_name", "InverseTimeDecay"},
                             {"config",
                              {{"initial_learning_rate", config["learning_rate"]},
                               {"decay_steps", 1},
                               {"decay_rate", decay},
                               {"staircase", false}}}};
  return absl::OkStatus();
}

// Metrics that are made when a step is traced: names and functions. Objects are there before.
bool MadeByStep(const Json& metrics) {
  if (metrics.is_string()) return true;
  if (metrics.is_object() && metrics.contains("class_name")) return metrics["class_name"] == "function";
  return metrics.is_structured() && std::any_of(metrics.begin(), metrics.end(), MadeByStep);
}

// How tf.keras 2 goes on with Nadam when it has loaded the file, but for its weights. Only archives say that a model is
// not compiled, and leave metrics to the first step: making them, it is traced again.
v1::NadamProduct ProductOf(const Json& json) {
  const bool archive = Member(json, "optimizer_config").is_null();
  v1::NadamProduct product;
  product.set_since(0);
  product.set_eager(archive && Member(json, "run_eagerly") == true);
  const bool again = archive && !product.eager() &&
                     (MadeByStep(Member(json, "metrics")) || MadeByStep(Member(json, "weighted_metrics")));
  product.set_traces(again ? 2 : 1);
  return product;
}

class Reader {
 public:
  Reader(const v1::Model& model, const Definitions& custom, std::vector<std::string>* left_out)
      : model_(model), custom_(custom), left_out_(left_out) {}

  absl::StatusOr<v1::TrainingConfig> Read(const Json& json) {
    STRATA_RETURN_IF_ERROR(ReadOptimizer(json));
    for (int i = 0; i < model_.outputs_size(); ++i) STRATA_RETURN_IF_ERROR(ReadLoss(json, i));
    if (!missing_.empty()) return absl::UnimplementedError(absl::StrJoin(missing_, "; "));
    ReadMetrics("metrics", Member(json, "metrics"));
    const int plain = config_.metrics_size();
    ReadMetrics("weighted_metrics", Member(json, "weighted_metrics"));
    for (int i = plain; i < config_.metrics_size(); ++i) SetWeight(config_.mutable_metrics(i));
    return config_;
  }

 private:
  // Notes a component that there is none of, so that all of them are told at once.
  static std::string Text(const std::string& path, const absl::Status& status) {
    std::string text(status.message());
    if (framework::IsNoComponent(status)) text.erase(0, text.find("no component"));
    return absl::StrCat(path, ": ", text);
  }
  absl::Status Note(const std::string& path, const absl::Status& status) {
    const std::string text = Text(path, status);
    if (!framework::IsNoComponent(status)) return absl::Status(status.code(), text);
    missing_.push_back(text);
    return absl::OkStatus();
  }

  absl::Status ReadOptimizer(const Json& json) {
    Json optimizer = WithoutPackage(Member(json, "optimizer_config").is_null() ? Member(json, "optimizer")
                                                                               : Member(json, "optimizer_config"));
    if (optimizer.is_null()) return absl::OkStatus();
    const bool legacy = IsLegacy(optimizer);
    if (legacy) STRATA_RETURN_IF_ERROR(SetLegacyDecay(&optimizer));
    const Json steps = framework::TakeAccumulation(&optimizer);
    auto imported = ImportOptimizer(v1::KERAS, optimizer.dump());
    if (!imported.ok()) return Note("optimizer", imported.status());
    *config_.mutable_optimizer() = *std::move(imported);
    if (legacy) config_.mutable_optimizer()->set_legacy(true);
    // Keras 3 has no such key, and does as the formula says.
    if (config_.optimizer().has_nadam() && Member(Member(optimizer, "config"), "is_legacy_optimizer") == false) {
      *config_.mutable_optimizer()->mutable_nadam_product() = ProductOf(json);
    }
    if (!steps.is_null()) {
      STRATA_ASSIGN_OR_RETURN(const int64_t count, JsonInt("optimizer.gradient_accumulation_steps", steps));
      config_.set_accumulate_steps(count);
    }
    return absl::OkStatus();
  }

  absl::Status ReadLoss(const Json& json, int output) {
    const Json& losses = Member(json, "loss");
    const Json& loss = ForOutput(losses, model_, output);
    if (loss.is_null()) return absl::OkStatus();
    auto imported = ImportLoss(v1::KERAS, WithoutPackage(loss).dump(), custom_);
    if (!imported.ok()) return Note(PathOf("loss", losses, model_, output), imported.status());
    v1::Objective* objective = config_.add_objectives();
    *objective->mutable_loss() = *std::move(imported);
    // A function given to compile() is reduced as its class is.
    objective->mutable_loss()->set_function_form(false);
    if (model_.outputs_size() > 1) objective->set_output(model_.outputs(output).name());
    const Json& weight = ForOutput(Member(json, "loss_weights"), model_, output);
    if (weight.is_number()) objective->set_weight(weight.get<double>());
    return absl::OkStatus();
  }

  // One list for all outputs, or one for each, in their order or by name.
  void ReadMetrics(const char* argument, const Json& metrics) {
    const bool each = (metrics.is_object() && !metrics.contains("class_name")) ||
                      (metrics.is_array() && std::any_of(metrics.begin(), metrics.end(),
                                                         [](const Json& m) { return m.is_array() || m.is_null(); }));
    for (int i = 0; i < model_.outputs_size(); ++i) {
      const Json& own = each ? ForOutput(metrics, model_, i) : metrics;
      const std::string path = each ? PathOf(argument, metrics, model_, i) : std::string(argument);
      ReadMetric(own, path, model_.outputs_size() > 1 ? i : -1);
    }
  }

  // Keras weighs a metric as it weighs the loss of its output: by one tensor for each output, named as the targets are.
  void SetWeight(v1::NamedMetric* metric) {
    for (int i = 0; i < config_.objectives_size(); ++i) {
      v1::Objective* objective = config_.mutable_objectives(i);
      if (objective->output() != metric->output()) continue;
      objective->set_sample_weight(i == 0 ? "sample_weight" : absl::StrCat("sample_weight_", i));
      metric->set_sample_weight(objective->sample_weight());
    }
  }

  // A metric by name, class, or wrapped function, or a list of them. Without those that Strata lacks training goes on
  // all the same.
  void ReadMetric(const Json& value, const std::string& path, int output) {
    if (value.is_array()) {
      for (size_t i = 0; i < value.size(); ++i) ReadMetric(value[i], absl::StrCat(path, "[", i, "]"), output);
      return;
    }
    Json metric = WithoutPackage(value);
    Json name;
    if (Member(value, "class_name") == "MeanMetricWrapper") {
      name = Member(Member(value, "config"), "name");
      metric = Member(Member(value, "config"), "fn");
    }
    if (metric.is_null()) return;
    auto imported = ImportMetric(v1::KERAS, metric.dump(), custom_);
    if (!imported.ok()) {
      if (left_out_ != nullptr) left_out_->push_back(Text(path, imported.status()));
      return;
    }
    v1::NamedMetric* named = config_.add_metrics();
    *named->mutable_metric() = *std::move(imported);
    if (name.is_string()) named->mutable_metric()->set_name(name.get<std::string>());
    if (output >= 0) {
      named->set_output(model_.outputs(output).name());
      named->mutable_metric()->set_name(absl::StrCat(named->output(), "_", nn::MetricName(named->metric())));
      // The target of the objective that looks at the same output.
      for (int i = 1; i < config_.objectives_size(); ++i) {
        if (config_.objectives(i).output() == named->output()) named->set_target(absl::StrCat("target_", i));
      }
    }
  }

  const v1::Model& model_;
  const Definitions& custom_;
  std::vector<std::string>* const left_out_;
  std::vector<std::string> missing_;
  v1::TrainingConfig config_;
};

Json AsKeras(const char* module, const std::string& text) {
  const Json json = Json::parse(text);
  return framework::KerasObject(module, json["class_name"].get<std::string>(), json["config"]);
}

// A user's class, which load_model finds among its custom_objects by the registered name; it belongs to no module.
Json AsCustom(const std::string& text) {
  Json object = AsKeras("", text);
  object["module"] = nullptr;
  object["registered_name"] = object["class_name"];
  return object;
}

// A user's function, as Keras names those that it is given. Python's classes are capitalised, its functions are not.
bool IsFunction(const v1::CustomLoss& loss) {
  const v1::CustomComponent& d = loss.definition();
  if (d.name().empty() || !absl::ascii_islower(static_cast<unsigned char>(d.name()[0]))) return false;
  // It takes no values with it.
  for (const v1::Hyperparameter& h : d.hyperparameters()) {
    const auto it = loss.hyperparameters().fields().find(h.name());
    const bool given = it != loss.hyperparameters().fields().end();
    if (given && it->second.SerializeAsString() != h.default_().SerializeAsString()) return false;
  }
  return true;
}
Json AsFunction(const std::string& name, KerasContainer container) {
  if (container == KerasContainer::kHdf5) return name;
  return {{"module", "builtins"}, {"class_name", "function"}, {"config", name}, {"registered_name", "function"}};
}
Json CustomLossAsKeras(const v1::CustomLoss& loss, const std::string& text, KerasContainer container) {
  return IsFunction(loss) ? AsFunction(loss.definition().name(), container) : AsCustom(text);
}

// Values of the outputs: a single one as it is, several by name.
Json ByOutput(const v1::Model& model, const std::map<std::string, Json>& values) {
  if (values.empty()) return nullptr;
  if (model.outputs_size() == 1) return values.begin()->second;
  Json object = Json::object();
  for (const auto& [name, value] : values) object[name] = value;
  return object;
}

}  // namespace

absl::StatusOr<v1::TrainingConfig> ImportKerasTraining(const v1::Model& model, std::string_view text,
                                                       const Definitions& custom, std::vector<std::string>* left_out) {
  STRATA_ASSIGN_OR_RETURN(Json json, ParseJson(text));
  STRATA_RETURN_IF_ERROR(framework::FromKeras3(&json));
  return Reader(model, custom, left_out).Read(json);
}

absl::StatusOr<std::string> ExportKerasTraining(const v1::Model& model, const v1::TrainingConfig& config,
                                                KerasContainer container) {
  std::map<std::string, Json> losses, weights, metrics, weighted_metrics;
  const auto output_of = [&](const std::string& given, int i) {
    return !given.empty() ? given : i < model.outputs_size() ? model.outputs(i).name() : "";
  };
  for (int i = 0; i < config.objectives_size(); ++i) {
    const v1::Objective& objective = config.objectives(i);
    STRATA_ASSIGN_OR_RETURN(const std::string loss, ExportLoss(v1::KERAS, objective.loss()));
    const std::string output = output_of(objective.output(), i);
    // Keras has no focal loss with these arguments: users bring the class.
    losses[output] = objective.loss().has_custom()  ? CustomLossAsKeras(objective.loss().custom(), loss, container)
                     : objective.loss().has_focal() ? AsCustom(loss)
                                                    : AsKeras("keras.losses", loss);
    weights[output] = objective.has_weight() ? objective.weight() : 1.0;
  }
  for (const v1::NamedMetric& named : config.metrics()) {
    const std::string output = output_of(named.output(), 0);
    v1::Metric own = named.metric();
    // Keras puts the output's name before it.
    if (absl::StartsWith(own.name(), output + "_")) own.set_name(own.name().substr(output.size() + 1));
    STRATA_ASSIGN_OR_RETURN(const std::string metric, ExportMetric(own));
    Json& list = named.sample_weight().empty() ? metrics[output] : weighted_metrics[output];
    const Json json = Json::parse(metric);
    list.push_back(json.is_string()              ? json
                   : named.metric().has_custom() ? AsCustom(metric)
                                                 : AsKeras("keras.metrics", metric));
  }
  STRATA_ASSIGN_OR_RETURN(const std::string optimizer, ExportOptimizer(v1::KERAS, config.optimizer()));
  const bool weighted = std::any_of(weights.begin(), weights.end(), [](const auto& w) { return w.second != 1.0; });
  Json json = {{"loss", ByOutput(model, losses)},
               {"metrics", ByOutput(model, metrics)},
               {"weighted_metrics", ByOutput(model, weighted_metrics)},
               {"loss_weights", weighted ? ByOutput(model, weights) : Json()},
               {"optimizer_config",
                AsKeras(config.optimizer().legacy() ? "keras.optimizers.legacy" : "keras.optimizers", optimizer)}};
  // A model that was not compiled goes on so where a file can say it: its Nadam depends on it.
  if (container == KerasContainer::kArchive && config.optimizer().nadam_product().eager()) json["run_eagerly"] = true;
  return json.dump();
}

}  // namespace strata
