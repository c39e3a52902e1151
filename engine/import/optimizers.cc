// Optimizers in the frameworks' words: the common arguments (decay, clipping) stand beside the kind's own.
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/import/framework.h"
#include "engine/nn/schema.h"

namespace strata {
namespace {

using framework::ArgumentRules;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Flags of the frameworks' implementations.
bool IsImplementationFlag(v1::Dialect dialect, const std::string& key) {
  if (dialect == v1::PYTORCH) {
    return key == "foreach" || key == "fused" || key == "capturable" || key == "differentiable";
  }
  return key == "name" || key == "jit_compile" || key == "is_legacy_optimizer";
}

absl::Status SetBetas(const Json& value, Message* kind) {
  if (!value.is_array() || value.size() != 2) return WrongValue("betas", "two numbers", value);
  const char* names[] = {"beta_1", "beta_2"};
  for (int i = 0; i < 2; ++i) {
    const auto* field = kind->GetDescriptor()->FindFieldByName(names[i]);
    STRATA_RETURN_IF_ERROR(
        framework::SetField({.dialect = v1::PYTORCH}, absl::StrCat("betas[", i, "]"), value[i], field, kind));
  }
  return absl::OkStatus();
}

absl::Status SetClipping(const ArgumentRules& rules, const std::string& key, const Json& value,
                         v1::Optimizer* optimizer, bool* known) {
  const FieldDescriptor* field = nn::FindArgument(v1::Clipping::descriptor(), rules.dialect, key);
  *known = rules.dialect == v1::KERAS && field != nullptr;
  if (!*known || value.is_null()) return absl::OkStatus();
  auto* clipping = optimizer->mutable_clipping();
  STRATA_RETURN_IF_ERROR(framework::SetField(rules, key, value, field, clipping));
  if (clipping->has_norm() && clipping->has_global_norm()) {
    return InvalidArgument("clipnorm|global_clipnorm: at most one may be set, got both");
  }
  return absl::OkStatus();
}

absl::Status SetOption(const ArgumentRules& rules, const std::string& key, const Json& value, Message* kind,
                       v1::Optimizer* optimizer) {
  if (key == "betas" && rules.dialect == v1::PYTORCH && kind->GetDescriptor()->FindFieldByName("beta_1") != nullptr) {
    return SetBetas(value, kind);
  }
  if (key == "learning_rate" && value.is_object()) {
    STRATA_ASSIGN_OR_RETURN(*optimizer->mutable_schedule(), framework::ScheduleFrom(rules.dialect, key, value));
    return absl::OkStatus();
  }
  if (const auto* field = nn::FindArgument(kind->GetDescriptor(), rules.dialect, key); field != nullptr) {
    return framework::SetField(rules, key, value, field, kind);
  }
  if (key == "weight_decay") {
    return framework::SetField(rules, key, value, v1::Optimizer::descriptor()->FindFieldByName(key), optimizer);
  }
  bool known = false;
  STRATA_RETURN_IF_ERROR(SetClipping(rules, key, value, optimizer, &known));
  if (known || IsImplementationFlag(rules.dialect, key)) return absl::OkStatus();
  if (rules.dialect == v1::KERAS && (key == "use_ema" || absl::StartsWith(key, "ema_"))) return absl::OkStatus();
  if (key == "decoupled_weight_decay" && optimizer->has_adam()) return JsonBool(key, value).status();
  return InvalidArgument(key, ": unknown argument, got ", Quote(value));
}

// AdamW decays unless it is told otherwise.
void SetAdamwDecay(v1::Dialect dialect, v1::Optimizer* optimizer) {
  if (optimizer->has_adamw() && !optimizer->has_weight_decay()) {
    optimizer->set_weight_decay(dialect == v1::PYTORCH ? 0.01 : 0.004);
  }
}

// Keras' three arguments of a moving average; the last two say nothing without the first, but must be valid.
absl::Status SetMovingAverage(const Json& config, v1::Optimizer* optimizer) {
  v1::MovingAverage average;
  // RMSprop has a default of its own.
  if (optimizer->has_rmsprop()) average.set_overwrite_frequency(100);
  for (const char* key : {"ema_momentum", "ema_overwrite_frequency"}) {
    const auto it = config.find(key);
    if (it == config.end()) continue;
    const auto* field = nn::FindArgument(v1::MovingAverage::descriptor(), v1::KERAS, key);
    average.GetReflection()->ClearField(&average, field);
    STRATA_RETURN_IF_ERROR(framework::SetField({.dialect = v1::KERAS}, key, *it, field, &average));
  }
  const auto use = config.find("use_ema");
  if (use == config.end()) return absl::OkStatus();
  STRATA_ASSIGN_OR_RETURN(const bool on, JsonBool("use_ema", *use));
  if (on) *optimizer->mutable_moving_average() = average;
  return absl::OkStatus();
}

absl::Status SetOptions(v1::Dialect dialect, const Json& config, v1::Optimizer* optimizer) {
  const auto* kind = nn::KindOf(*optimizer);
  Message* options = optimizer->GetReflection()->MutableMessage(optimizer, kind);
  for (const auto& [key, value] : config.items()) {
    STRATA_RETURN_IF_ERROR(SetOption({.dialect = dialect}, key, value, options, optimizer));
  }
  if (dialect == v1::KERAS) STRATA_RETURN_IF_ERROR(SetMovingAverage(config, optimizer));
  const auto decoupled = config.find("decoupled_weight_decay");
  if (decoupled != config.end() && *decoupled == true && optimizer->has_adam()) {
    v1::Adam adam = optimizer->adam();
    *optimizer->mutable_adamw() = adam;
    if (!optimizer->has_weight_decay()) optimizer->set_weight_decay(0);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::Optimizer> ImportOptimizer(v1::Dialect dialect, std::string_view text) {
  STRATA_ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  STRATA_ASSIGN_OR_RETURN(const framework::Form form, framework::FormOf("", json));
  const auto* family = v1::Optimizer::descriptor();
  const FieldDescriptor* kind = nn::FindClass(family, dialect, form.name);
  if (kind == nullptr && form.kind == framework::Form::Kind::kString)
    kind = nn::FindFunction(family, dialect, form.name);
  // Keras takes their names in any case.
  if (kind == nullptr && dialect == v1::KERAS) {
    kind = nn::FindFunction(family, dialect, absl::AsciiStrToLower(form.name));
  }
  if (kind == nullptr)
    return framework::NoComponent(dialect, form.kind == framework::Form::Kind::kString ? "optimizer" : "", form);
  v1::Optimizer optimizer;
  optimizer.GetReflection()->MutableMessage(&optimizer, kind);
  if ((optimizer.has_adamw() || dialect == v1::PYTORCH) && form.config != nullptr &&
      form.config->contains("weight_decay") && (*form.config)["weight_decay"].is_null()) {
    return WrongValue("weight_decay", "a number", (*form.config)["weight_decay"]);
  }
  if (form.config != nullptr) STRATA_RETURN_IF_ERROR(SetOptions(dialect, *form.config, &optimizer));
  SetAdamwDecay(dialect, &optimizer);
  STRATA_RETURN_IF_ERROR(nn::Fill(dialect, "", &optimizer));
  return optimizer;
}

absl::StatusOr<v1::ParameterGroup> ImportParameterGroup(const v1::Optimizer& optimizer, std::string_view text) {
  STRATA_ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  if (!json.is_object()) return WrongValue("groups", "objects", json);
  v1::ParameterGroup group;
  v1::Optimizer own;
  const auto* kind = nn::KindOf(optimizer);
  if (kind == nullptr) return InvalidArgument("optimizer.kind: must be set, got nothing");
  own.GetReflection()->MutableMessage(&own, kind);
  Json config = json;
  config.erase("params");
  // Adagrad starts the sums of all parameters with its own argument, whatever a group says.
  if (optimizer.has_adagrad()) config.erase("initial_accumulator_value");
  bool decoupled = optimizer.has_adamw();
  if (const auto it = config.find("decoupled_weight_decay");
      it != config.end() && (optimizer.has_adam() || optimizer.has_adamw())) {
    STRATA_ASSIGN_OR_RETURN(decoupled, JsonBool("decoupled_weight_decay", *it));
    config.erase(it);
  }
  STRATA_RETURN_IF_ERROR(SetOptions(v1::PYTORCH, config, &own));
  for (const Json& name : Member(json, "params")) {
    STRATA_ASSIGN_OR_RETURN(*group.add_parameters(), JsonString("params", name));
  }
  if (own.has_weight_decay()) group.set_weight_decay(own.weight_decay());
  own.clear_weight_decay();
  Message* options = own.GetReflection()->MutableMessage(&own, kind);
  const auto* rate = options->GetDescriptor()->FindFieldByName("learning_rate");
  if (options->GetReflection()->HasField(*options, rate)) {
    group.set_learning_rate(options->GetReflection()->GetDouble(*options, rate));
    options->GetReflection()->ClearField(options, rate);
  }
  if (options->ByteSizeLong() > 0) *group.mutable_options() = own;
  if (decoupled != optimizer.has_adamw()) {
    // The other kind: it takes none of the common options by itself.
    v1::Adam all = optimizer.has_adamw() ? optimizer.adamw() : optimizer.adam();
    all.MergeFrom(optimizer.has_adamw() ? own.adamw() : own.adam());
    if (!group.has_weight_decay()) group.set_weight_decay(optimizer.weight_decay());
    *(decoupled ? group.mutable_options()->mutable_adamw() : group.mutable_options()->mutable_adam()) = all;
  }
  return group;
}

absl::StatusOr<v1::Clipping> ImportClipping(std::string_view text) {
  STRATA_ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  STRATA_ASSIGN_OR_RETURN(const framework::Form form, framework::FormOf("", json));
  v1::Clipping clipping;
  const bool by_norm = form.name == "clip_grad_norm_";
  if (!by_norm && form.name != "clip_grad_value_") return framework::NoComponent(v1::PYTORCH, "", form);
  const Json& config = ConfigOf(form);
  for (const auto& [key, value] : config.items()) {
    const char* field = nullptr;
    if (by_norm && key == "max_norm") field = "global_norm";
    if (by_norm && key == "norm_type") field = "norm_type";
    if (!by_norm && key == "clip_value") field = "value";
    if (field == nullptr) {
      if (key == "foreach" || key == "error_if_nonfinite") continue;
      return InvalidArgument(key, ": unknown argument, got ", Quote(value));
    }
    STRATA_RETURN_IF_ERROR(framework::SetField({.dialect = v1::PYTORCH}, key, value,
                                               v1::Clipping::descriptor()->FindFieldByName(field), &clipping));
  }
  STRATA_RETURN_IF_ERROR(nn::Fill(v1::PYTORCH, "", &clipping));
  return clipping;
}

}  // namespace strata
