// Activations, initializers, regularizers and constraints: by name, by class or by function.
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/import/framework.h"
#include "engine/nn/schema.h"

namespace strata::framework {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// A number of a config, by one of its names; `missing` if it is absent or null.
absl::StatusOr<double> NumberOf(const std::string& path, const Json& config, std::initializer_list<const char*> names,
                                double missing) {
  for (const char* name : names) {
    const auto it = config.find(name);
    if (it != config.end() && !it->is_null()) return JsonDouble(Below(path, name), *it);
  }
  return missing;
}

absl::Status OnlyArguments(const std::string& path, const Json& config, std::initializer_list<const char*> names) {
  for (const auto& [key, value] : config.items()) {
    bool known = false;
    for (const char* name : names) known = known || key == name;
    if (!known) return InvalidArgument(Below(path, key), ": unknown argument, got ", Quote(value));
  }
  return absl::OkStatus();
}

struct Variance {
  const char* class_name;
  const char* function;
  double scale;
  v1::VarianceScalingInitializer::Fan fan;
  v1::VarianceScalingInitializer::Distribution distribution;
};

// Keras' named members of the family.
constexpr Variance kVariances[] = {
    {"GlorotUniform", "glorot_uniform", 1, v1::VarianceScalingInitializer::FAN_AVG,
     v1::VarianceScalingInitializer::UNIFORM},
    {"GlorotNormal", "glorot_normal", 1, v1::VarianceScalingInitializer::FAN_AVG,
     v1::VarianceScalingInitializer::TRUNCATED_NORMAL},
    {"HeUniform", "he_uniform", 2, v1::VarianceScalingInitializer::FAN_IN, v1::VarianceScalingInitializer::UNIFORM},
    {"HeNormal", "he_normal", 2, v1::VarianceScalingInitializer::FAN_IN,
     v1::VarianceScalingInitializer::TRUNCATED_NORMAL},
    {"LecunUniform", "lecun_uniform", 1, v1::VarianceScalingInitializer::FAN_IN,
     v1::VarianceScalingInitializer::UNIFORM},
    {"LecunNormal", "lecun_normal", 1, v1::VarianceScalingInitializer::FAN_IN,
     v1::VarianceScalingInitializer::TRUNCATED_NORMAL},
};

absl::StatusOr<bool> KerasVariance(const std::string& path, const Form& form, v1::Initializer* initializer) {
  for (const Variance& v : kVariances) {
    if (form.name != v.class_name && form.name != v.function) continue;
    auto* scaling = initializer->mutable_variance_scaling();
    const Json& config = ConfigOf(form);
    STRATA_RETURN_IF_ERROR(OnlyArguments(path, config, {"seed", "dtype"}));
    const auto seed = config.find("seed");
    if (seed != config.end() && !seed->is_null()) {
      STRATA_ASSIGN_OR_RETURN(const int64_t value, JsonInt(Below(path, "seed"), *seed));
      scaling->set_seed(value);
    }
    scaling->set_scale(v.scale);
    scaling->set_mode(v.fan);
    scaling->set_distribution(v.distribution);
    return true;
  }
  return false;
}

// xavier_* and kaiming_* of torch.nn.init: the variance is gain^2 over the fan.
absl::StatusOr<bool> PytorchVariance(const std::string& path, const Form& form, v1::Initializer* initializer) {
  const bool xavier = absl::StartsWith(form.name, "xavier_"), kaiming = absl::StartsWith(form.name, "kaiming_");
  if (!xavier && !kaiming) return false;
  const absl::string_view rest = absl::string_view(form.name).substr(form.name.find('_') + 1);
  if (rest != "uniform_" && rest != "normal_") return false;
  const Json& config = ConfigOf(form);
  double gain = 1;
  auto fan = v1::VarianceScalingInitializer::FAN_AVG;
  if (xavier) {
    STRATA_RETURN_IF_ERROR(OnlyArguments(path, config, {"gain"}));
    STRATA_ASSIGN_OR_RETURN(gain, NumberOf(path, config, {"gain"}, 1));
    if (gain < 0) return InvalidArgument(Below(path, "gain"), ": must be >= 0, got ", gain);
  } else {
    STRATA_RETURN_IF_ERROR(OnlyArguments(path, config, {"a", "mode", "nonlinearity"}));
    STRATA_ASSIGN_OR_RETURN(const double a, NumberOf(path, config, {"a"}, 0));
    const Json mode = config.contains("mode") ? config["mode"] : Json("fan_in");
    if (mode != "fan_in" && mode != "fan_out") return WrongValue(Below(path, "mode"), "fan_in or fan_out", mode);
    fan = mode == "fan_in" ? v1::VarianceScalingInitializer::FAN_IN : v1::VarianceScalingInitializer::FAN_OUT;
    const std::string nonlinearity_path = Below(path, "nonlinearity");
    const Json& given = Member(config, "nonlinearity");
    STRATA_ASSIGN_OR_RETURN(const std::string nonlinearity,
                            JsonString(nonlinearity_path, given.is_null() ? Json("leaky_relu") : given));
    const auto known = CalculateGain(nonlinearity, a);
    if (!known.ok()) return WrongValue(nonlinearity_path, "a nonlinearity with a known gain", Json(nonlinearity));
    gain = *known;
  }
  auto* scaling = initializer->mutable_variance_scaling();
  scaling->set_scale(gain * gain);
  scaling->set_mode(fan);
  scaling->set_distribution(rest == "uniform_" ? v1::VarianceScalingInitializer::UNIFORM
                                               : v1::VarianceScalingInitializer::NORMAL);
  return true;
}

// Makes `message`'s member `kind` and sets its arguments.
absl::Status SetKind(v1::Dialect dialect, const std::string& path, const Json& config, const FieldDescriptor* kind,
                     Message* message) {
  Message* sub = message->GetReflection()->MutableMessage(message, kind);
  return SetArguments({.dialect = dialect}, path, config, sub);
}

// Class first, then function, as the frameworks' `get` does; an object's class may stand under its alias.
const FieldDescriptor* FindKind(const google::protobuf::Descriptor* family, v1::Dialect dialect, const Form& form) {
  const auto* kind = nn::FindClass(family, dialect, form.name);
  if (kind == nullptr) kind = nn::FindFunction(family, dialect, WithoutModule(form.name));
  return kind;
}

}  // namespace

absl::Status SetActivation(const std::string& path, const Json& value, v1::Activation* activation) {
  activation->Clear();
  if (value.is_null()) {
    activation->mutable_linear();
    return absl::OkStatus();
  }
  STRATA_ASSIGN_OR_RETURN(const Form form, FormOf(path, value));
  const auto* family = v1::Activation::descriptor();
  const bool is_class = form.kind == Form::Kind::kClass;
  const std::string name = WithoutModule(form.name);
  const auto* kind = is_class ? nn::FindClass(family, v1::KERAS, name) : nn::FindFunction(family, v1::KERAS, name);
  if (kind == nullptr) return NoComponent(v1::KERAS, path, form);
  Message* sub = activation->GetReflection()->MutableMessage(activation, kind);
  // The function's default slope is 0.2, the layer's 0.3.
  if (!is_class && kind->number() == v1::Activation::kLeakyReluFieldNumber) {
    activation->mutable_leaky_relu()->set_negative_slope(0.2);
  }
  return SetArguments({.dialect = v1::KERAS, .layer = true}, path, ConfigOf(form), sub);
}

absl::Status SetInitializer(v1::Dialect dialect, const std::string& path, const Json& value,
                            v1::Initializer* initializer) {
  initializer->Clear();
  // Keras' weights without an initializer are Glorot's.
  if (value.is_null() && dialect == v1::KERAS) return SetInitializer(dialect, path, "glorot_uniform", initializer);
  STRATA_ASSIGN_OR_RETURN(Form form, FormOf(path, value));
  STRATA_ASSIGN_OR_RETURN(const bool done, dialect == v1::KERAS ? KerasVariance(path, form, initializer)
                                                                : PytorchVariance(path, form, initializer));
  if (done) return absl::OkStatus();
  const auto* kind = FindKind(v1::Initializer::descriptor(), dialect, form);
  if (kind == nullptr) return NoComponent(dialect, path, form);
  Json config = ConfigOf(form);
  config.erase("dtype");
  return SetKind(dialect, path, config, kind, initializer);
}

absl::Status SetRegularizer(const std::string& path, const Json& value, v1::Regularizer* regularizer, bool* set) {
  regularizer->Clear();
  *set = !value.is_null();
  if (value.is_null()) return absl::OkStatus();
  STRATA_ASSIGN_OR_RETURN(const Form form, FormOf(path, value));
  const std::string name = WithoutModule(form.name);
  const bool l1 = name == "L1" || name == "l1", l2 = name == "L2" || name == "l2";
  const bool both = name == "L1L2" || name == "l1_l2";
  if (name == "OrthogonalRegularizer" || name == "orthogonal_regularizer") {
    STRATA_RETURN_IF_ERROR(
        SetArguments({.dialect = v1::KERAS}, path, ConfigOf(form), regularizer->mutable_orthogonal()));
    return nn::Fill(v1::KERAS, path, regularizer);
  }
  if (!l1 && !l2 && !both) return NoComponent(v1::KERAS, path, form);
  const Json& config = ConfigOf(form);
  // L1() and L2() are 0.01; L1L2() is nothing; the function and the string l1_l2 are 0.01 of both.
  const double missing = name == "L1L2" ? 0 : 0.01;
  if (l1 || both) {
    STRATA_ASSIGN_OR_RETURN(const double w, NumberOf(path, config, {"l1", l1 ? "l" : "l1"}, missing));
    regularizer->set_l1(w);
  }
  if (l2 || both) {
    STRATA_ASSIGN_OR_RETURN(const double w, NumberOf(path, config, {"l2", l2 ? "l" : "l2"}, missing));
    regularizer->set_l2(w);
  }
  if (both) STRATA_RETURN_IF_ERROR(OnlyArguments(path, config, {"l1", "l2"}));
  if (!both) STRATA_RETURN_IF_ERROR(OnlyArguments(path, config, {"l", l1 ? "l1" : "l2"}));
  return nn::Fill(v1::KERAS, path, regularizer);
}

absl::Status SetConstraint(const std::string& path, const Json& value, v1::Constraint* constraint, bool* set) {
  constraint->Clear();
  *set = !value.is_null();
  if (value.is_null()) return absl::OkStatus();
  STRATA_ASSIGN_OR_RETURN(const Form form, FormOf(path, value));
  const auto* kind = FindKind(v1::Constraint::descriptor(), v1::KERAS, form);
  if (kind == nullptr) return NoComponent(v1::KERAS, path, form);
  return SetKind(v1::KERAS, path, ConfigOf(form), kind, constraint);
}

}  // namespace strata::framework

namespace strata {

absl::StatusOr<double> CalculateGain(const std::string& nonlinearity, double negative_slope) {
  if (nonlinearity == "linear" || nonlinearity == "sigmoid" || absl::StartsWith(nonlinearity, "conv")) return 1.0;
  if (nonlinearity == "tanh") return 5.0 / 3;
  if (nonlinearity == "relu") return std::sqrt(2.0);
  if (nonlinearity == "leaky_relu") return std::sqrt(2 / (1 + negative_slope * negative_slope));
  if (nonlinearity == "selu") return 0.75;
  return WrongValue("nonlinearity", "a nonlinearity with a known gain", Json(nonlinearity));
}

}  // namespace strata
