// One component in a framework's words.
#include "engine/import/framework.h"

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/import/custom.h"
#include "engine/nn/complete.h"
#include "engine/nn/metrics/metric.h"
#include "engine/nn/schema.h"

namespace strata {
namespace framework {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr absl::string_view kFunctional = "functional.";

// A member of a family by any form. `*function` says whether the function form was meant.
const FieldDescriptor* Find(const Descriptor* family, v1::Dialect dialect, const Form& form, bool* function) {
  *function =
      form.kind == Form::Kind::kFunction || (dialect == v1::PYTORCH && absl::StartsWith(form.name, kFunctional));
  if (*function) return nn::FindFunction(family, dialect, WithoutModule(form.name));
  if (const auto* kind = nn::FindClass(family, dialect, form.name); kind != nullptr) return kind;
  if (form.kind == Form::Kind::kClass) return nullptr;
  *function = true;
  return nn::FindFunction(family, dialect, form.name);
}

// tf.nn.relu, activations.relu, "relu": an activation function as a layer.
const FieldDescriptor* FindKerasFunction(const std::string& name) {
  const auto* layers = v1::Layer::descriptor();
  if (const auto* kind = nn::FindFunction(layers, v1::KERAS, name); kind != nullptr) return kind;
  const auto* activation = nn::FindFunction(v1::Activation::descriptor(), v1::KERAS, WithoutModule(name));
  if (activation == nullptr) return nullptr;
  if (activation->number() == v1::Activation::kLinearFieldNumber) return layers->FindFieldByName("identity");
  return layers->FindFieldByName(activation->name());
}

Message* MutableKind(const FieldDescriptor* kind, Message* message) {
  return message->GetReflection()->MutableMessage(message, kind);
}

// Checks the component with its defaults filled in, and words errors with the framework's names of its arguments.
absl::Status CheckWhole(v1::Dialect dialect, const std::string& path, const FieldDescriptor* kind,
                        const v1::Layer& layer) {
  v1::Layer copy = layer;
  const absl::Status status = nn::Fill(dialect, "", &copy);
  if (status.ok()) return status;
  std::string text(status.message());
  const std::string prefix = kind->name() + ".";
  if (!absl::StartsWith(text, prefix)) return status;
  text = text.substr(prefix.size());
  const size_t end = text.find(':');
  std::vector<std::string> names = absl::StrSplit(text.substr(0, end), '|');
  for (std::string& name : names) {
    const auto* field = kind->message_type()->FindFieldByName(name);
    if (field != nullptr) name = nn::ArgumentName(field, dialect);
  }
  return absl::InvalidArgumentError(Below(path, absl::StrCat(absl::StrJoin(names, "|"), text.substr(end))));
}

}  // namespace

namespace {

// What every layer has besides its arguments.
absl::Status SetCommon(v1::Dialect dialect, const std::string& path, const Json& json, const Json& config,
                       v1::Layer* layer) {
  const auto& named = dialect == v1::KERAS ? config : json;
  if (named.is_object() && named.contains("name")) {
    STRATA_ASSIGN_OR_RETURN(*layer->mutable_name(), JsonString(Below(path, "name"), named["name"]));
  }
  if (dialect == v1::PYTORCH && config.contains("inplace")) {
    STRATA_ASSIGN_OR_RETURN(const bool inplace, JsonBool(Below(path, "inplace"), config["inplace"]));
    if (inplace) layer->set_inplace(true);
  }
  if (dialect == v1::KERAS && config.contains("trainable")) {
    STRATA_ASSIGN_OR_RETURN(const bool trainable, JsonBool(Below(path, "trainable"), config["trainable"]));
    if (!trainable) layer->set_trainable(false);
  }
  const std::string penalty = "activity_regularizer";
  const FieldDescriptor* kind = nn::KindOf(*layer);
  if (dialect == v1::KERAS && config.contains(penalty) && !config[penalty].is_null() &&
      kind->message_type()->FindFieldByName(penalty) == nullptr) {
    STRATA_RETURN_IF_ERROR(SetField({.dialect = dialect}, Below(path, penalty), config[penalty],
                                    v1::Layer::descriptor()->FindFieldByName(penalty), layer));
  }
  return absl::OkStatus();
}

// Where str(module) or get_config() tells (2,) from 2: pooling along one axis, and attention's output_shape.
void NoteOneEntryLists(v1::Dialect dialect, const FieldDescriptor* kind, const Json& config, v1::Layer* layer) {
  const bool pool = kind->name() == "max_pool1d" ||
                    (absl::StartsWith(kind->name(), "adaptive_") && absl::EndsWith(kind->name(), "_pool1d"));
  if (dialect == v1::PYTORCH ? !pool : !layer->has_keras_multi_head_attention()) return;
  for (const auto& [name, value] : config.items()) {
    if (!value.is_array() || value.size() != 1) continue;
    if (const auto* field = nn::FindArgument(kind->message_type(), dialect, name); field != nullptr) {
      layer->add_one_entry_lists(field->name());
    }
  }
}

// Keras' layer refuses what its function takes.
absl::Status CheckReluLayer(const std::string& path, const v1::Relu& a) {
  for (const auto& [name, value] : {std::pair{"negative_slope", a.negative_slope()}, {"threshold", a.threshold()}}) {
    if (value < 0) return InvalidArgument(Below(path, name), ": must be >= 0, got ", value);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::Layer> LayerFrom(v1::Dialect dialect, const std::string& path, const Json& json) {
  STRATA_ASSIGN_OR_RETURN(const Form form, FormOf(path, json));
  STRATA_ASSIGN_OR_RETURN(const std::optional<v1::CustomLayer> custom, CustomLayerFrom(dialect, path, json));
  if (custom.has_value()) {
    v1::Layer layer;
    *layer.mutable_custom() = *custom;
    v1::Layer copy = layer;
    STRATA_RETURN_IF_ERROR(WithoutOurPath(path, nn::Fill(dialect, "", &copy)));
    STRATA_RETURN_IF_ERROR(SetCommon(dialect, path, json, ConfigOf(form), &layer));
    return layer;
  }
  bool function = false;
  const FieldDescriptor* kind = Find(v1::Layer::descriptor(), dialect, form, &function);
  if (function && dialect == v1::KERAS) kind = FindKerasFunction(form.name);
  if (kind == nullptr) return NoComponent(dialect, path, form);

  v1::Layer layer;
  Message* attributes = MutableKind(kind, &layer);
  if (function && kind->number() == v1::Layer::kLeakyReluFieldNumber && dialect == v1::KERAS) {
    layer.mutable_leaky_relu()->set_negative_slope(0.2);  // the function's default; the layer's is 0.3
  }
  const Json& config = ConfigOf(form);
  if (dialect == v1::PYTORCH && !function) STRATA_RETURN_IF_ERROR(CheckPytorchArguments(path, kind, config));
  if (dialect == v1::KERAS && !function) STRATA_RETURN_IF_ERROR(CheckKerasArguments(path, kind, config));
  STRATA_RETURN_IF_ERROR(SetArguments(
      {.dialect = dialect, .spatial_axes = nn::SpatialAxes(kind->name()), .layer = true}, path, config, attributes));
  NoteOneEntryLists(dialect, kind, config, &layer);
  STRATA_RETURN_IF_ERROR(CheckWhole(dialect, path, kind, layer));
  if (!function && layer.has_relu()) STRATA_RETURN_IF_ERROR(CheckReluLayer(path, layer.relu()));
  STRATA_RETURN_IF_ERROR(SetCommon(dialect, path, json, config, &layer));
  return layer;
}

namespace {

// PyTorch's older arguments size_average and reduce: either one given overrides `reduction`.
absl::StatusOr<Json> WithReduction(Json config) {
  bool given = false, average = true, reduce = true;
  for (const auto& [name, value] : {std::pair{"size_average", &average}, std::pair{"reduce", &reduce}}) {
    const auto it = config.find(name);
    if (it == config.end()) continue;
    if (!it->is_null()) {
      STRATA_ASSIGN_OR_RETURN(*value, JsonBool(name, *it));
      given = true;
    }
    config.erase(it);
  }
  if (given) config["reduction"] = !reduce ? "none" : average ? "mean" : "sum";
  return config;
}

}  // namespace
}  // namespace framework

using framework::ArgumentRules;
using framework::Form;

absl::StatusOr<v1::Layer> ImportLayer(v1::Dialect dialect, std::string_view text, const Definitions& custom) {
  STRATA_ASSIGN_OR_RETURN(Json json, ParseJson(text));
  json = framework::WithDefinitions(std::move(json), custom, false);
  STRATA_ASSIGN_OR_RETURN(v1::Layer layer, framework::LayerFrom(dialect, "", json));
  STRATA_RETURN_IF_ERROR(nn::Fill(dialect, "", &layer));
  return layer;
}

absl::Status CheckCallForm(const v1::Layer& layer, bool as_list) {
  switch (layer.kind_case()) {
    case v1::Layer::kAdd:
    case v1::Layer::kSubtract:
    case v1::Layer::kMultiply:
    case v1::Layer::kAverage:
    case v1::Layer::kMaximum:
    case v1::Layer::kMinimum:
    case v1::Layer::kDot:
    case v1::Layer::kConcatenate:
      return as_list ? absl::OkStatus() : InvalidArgument("inputs: must be a list of tensors, got one tensor");
    default:
      return absl::OkStatus();
  }
}

absl::StatusOr<v1::Loss> ImportLoss(v1::Dialect dialect, std::string_view text, const Definitions& custom) {
  STRATA_ASSIGN_OR_RETURN(Json json, ParseJson(text));
  json = framework::WithDefinitions(std::move(json), custom, true);
  STRATA_ASSIGN_OR_RETURN(const Form form, framework::FormOf("", json));
  STRATA_ASSIGN_OR_RETURN(const std::optional<v1::CustomLoss> own, framework::CustomLossFrom(dialect, json));
  if (own.has_value()) {
    v1::Loss loss;
    *loss.mutable_custom() = *own;
    loss.set_function_form(dialect == v1::KERAS && form.kind != Form::Kind::kClass);
    STRATA_RETURN_IF_ERROR(framework::WithoutOurPath("", nn::Fill(dialect, "", &loss)));
    return loss;
  }
  bool function = false;
  const auto* kind = framework::Find(v1::Loss::descriptor(), dialect, form, &function);
  if (kind == nullptr) return framework::NoComponent(dialect, form.kind == Form::Kind::kString ? "loss" : "", form);
  v1::Loss loss;
  Json config = framework::ConfigOf(form);
  // Younger losses never had them.
  const bool older = kind->number() != v1::Loss::kHuberFieldNumber && kind->number() != v1::Loss::kCtcFieldNumber;
  if (dialect == v1::PYTORCH && older && nn::FindArgument(kind->message_type(), dialect, "reduction") != nullptr) {
    STRATA_ASSIGN_OR_RETURN(config, framework::WithReduction(std::move(config)));
  }
  // tf.keras 2 has no more of them.
  if (dialect == v1::KERAS && Member(config, "reduction") == "mean") {
    return WrongValue("reduction", "one of auto, none, sum, sum_over_batch_size", config["reduction"]);
  }
  STRATA_RETURN_IF_ERROR(
      framework::SetArguments({.dialect = dialect, .layer = true}, "", config, framework::MutableKind(kind, &loss)));
  // torch.nn.functional reduces as the classes do; Keras' functions return one value per sample.
  loss.set_function_form(function && dialect == v1::KERAS);
  STRATA_RETURN_IF_ERROR(nn::Fill(dialect, "", &loss));
  return loss;
}

namespace framework {
namespace {

// Keras takes losses for metrics, by name or as a class; the class' reduction is not its.
absl::StatusOr<v1::Metric> MetricOfLoss(const Form& given) {
  Form form = given;
  if (form.name == "LogCoshError") form.name = "LogCosh";
  bool function = false;
  const FieldDescriptor* kind = Find(v1::Loss::descriptor(), v1::KERAS, form, &function);
  if (kind == nullptr || (form.config != nullptr && form.config->contains("reduction"))) {
    return NoComponent(v1::KERAS, form.kind == Form::Kind::kString ? "metric" : "", given);
  }
  v1::Metric metric;
  metric.mutable_loss()->set_function_form(true);
  const Json& config = ConfigOf(form);
  STRATA_RETURN_IF_ERROR(
      SetArguments({.dialect = v1::KERAS, .layer = true}, "", config, MutableKind(kind, metric.mutable_loss())));
  if (Member(config, "name").is_string()) metric.set_name(Member(config, "name").get<std::string>());
  STRATA_RETURN_IF_ERROR(nn::Fill(v1::KERAS, "", &metric));
  return metric;
}

// Metrics whose names compile() looks up by the shapes of outputs and targets, in any case.
bool IsResolvedByShape(const Form& form) {
  if (form.kind != Form::Kind::kString) return false;
  const std::string name = absl::AsciiStrToLower(form.name);
  return name == "accuracy" || name == "acc" || name == "crossentropy" || name == "ce";
}

// What Keras calls a metric in its history: a class by its own name, a function by the name that was given.
void SetHistoryName(const Form& form, const std::string& given, v1::Metric* metric) {
  if (!metric->name().empty()) return;
  std::string name = given;
  const bool is_class =
      !IsResolvedByShape(form) &&
      (form.kind == Form::Kind::kClass || nn::FindClass(v1::Metric::descriptor(), v1::KERAS, given) != nullptr ||
       nn::FindClass(v1::Loss::descriptor(), v1::KERAS, given) != nullptr || given == "LogCoshError");
  if (is_class) {
    name = given == "KLDivergence"   ? "kullback_leibler_divergence"
           : given == "LogCoshError" ? "logcosh"
                                     : nn::SnakeCase(given);
  }
  if (form.kind != Form::Kind::kFunction && name != nn::MetricName(*metric)) metric->set_name(name);
}

}  // namespace
}  // namespace framework

absl::StatusOr<v1::Metric> ImportMetric(v1::Dialect dialect, std::string_view text, const Definitions& custom) {
  STRATA_ASSIGN_OR_RETURN(Json json, ParseJson(text));
  json = framework::WithDefinitions(std::move(json), custom, true);
  STRATA_ASSIGN_OR_RETURN(Form form, framework::FormOf("", json));
  const std::string given = form.name;
  const bool by_shape = dialect == v1::KERAS && framework::IsResolvedByShape(form);
  if (by_shape) form.name = absl::AsciiStrToLower(given);
  STRATA_ASSIGN_OR_RETURN(const std::optional<v1::CustomMetric> own, framework::CustomMetricFrom(dialect, json));
  if (own.has_value()) {
    v1::Metric metric;
    *metric.mutable_custom() = *own;
    STRATA_RETURN_IF_ERROR(framework::WithoutOurPath("", nn::Fill(dialect, "", &metric)));
    return metric;
  }
  bool function = false;
  const auto* kind = framework::Find(v1::Metric::descriptor(), dialect, form, &function);
  if (kind == nullptr && dialect == v1::KERAS) {
    STRATA_ASSIGN_OR_RETURN(v1::Metric metric, framework::MetricOfLoss(form));
    framework::SetHistoryName(form, given, &metric);
    return metric;
  }
  if (kind == nullptr) return framework::NoComponent(dialect, form.kind == Form::Kind::kString ? "metric" : "", form);
  v1::Metric metric;
  const Json& config = framework::ConfigOf(form);
  STRATA_RETURN_IF_ERROR(
      framework::SetArguments({.dialect = dialect, .layer = true}, "", config, framework::MutableKind(kind, &metric)));
  if (config.contains("name") && config["name"].is_string()) metric.set_name(config["name"].get<std::string>());
  if (dialect == v1::KERAS) framework::SetHistoryName(form, given, &metric);
  STRATA_RETURN_IF_ERROR(nn::Fill(dialect, "", &metric));
  return metric;
}

absl::StatusOr<v1::Initializer> ImportInitializer(v1::Dialect dialect, std::string_view text) {
  STRATA_ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  v1::Initializer initializer;
  STRATA_RETURN_IF_ERROR(framework::SetInitializer(dialect, "", json, &initializer));
  STRATA_RETURN_IF_ERROR(nn::Fill(dialect, "", &initializer));
  return initializer;
}

absl::StatusOr<v1::Regularizer> ImportRegularizer(std::string_view text) {
  STRATA_ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  v1::Regularizer regularizer;
  bool set = false;
  STRATA_RETURN_IF_ERROR(framework::SetRegularizer("", json, &regularizer, &set));
  return regularizer;
}

absl::StatusOr<v1::Constraint> ImportConstraint(std::string_view text) {
  STRATA_ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  v1::Constraint constraint;
  bool set = false;
  STRATA_RETURN_IF_ERROR(framework::SetConstraint("", json, &constraint, &set));
  if (set) STRATA_RETURN_IF_ERROR(nn::Fill(v1::KERAS, "", &constraint));
  return constraint;
}

}  // namespace strata
