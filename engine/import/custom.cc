#include "engine/import/custom.h"

#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "engine/base/status.h"
#include "engine/expr/functions.h"
#include "engine/expr/parser.h"
#include "engine/nn/schema.h"
#include "google/protobuf/util/json_util.h"

namespace strata {
namespace framework {
namespace {

constexpr char kKey[] = "custom_component";

const v1::CustomComponent* Find(const Definitions& definitions, std::string name) {
  // Keras registers classes under packages: "Custom>Linear".
  if (const auto mark = name.rfind('>'); mark != std::string::npos) name.erase(0, mark + 1);
  const v1::CustomComponent* found = nullptr;
  for (const v1::CustomComponent& d : definitions) {
    if (d.name() == name) found = &d;
  }
  return found;
}

Json ToJson(const v1::CustomComponent& d) {
  std::string text;
  STRATA_CHECK(google::protobuf::util::MessageToJsonString(d, &text).ok());
  return Json::parse(text, nullptr, false);
}

void Write(const Definitions& definitions, Json* json) {
  if (json->is_array()) {
    for (Json& item : *json) Write(definitions, &item);
    return;
  }
  if (!json->is_object()) return;
  for (const char* key : {"class_name", "function"}) {
    const Json& name = Member(*json, key);
    if (!name.is_string() || json->contains(kKey)) continue;
    if (const auto* d = Find(definitions, name.get<std::string>()); d != nullptr) (*json)[kKey] = ToJson(*d);
  }
  // A Lambda's function is no component.
  if (Member(*json, "class_name") == "Lambda") return;
  for (auto& [key, item] : json->items()) {
    if (key != kKey) Write(definitions, &item);
  }
}

absl::StatusOr<google::protobuf::Value> ToValue(const std::string& path, const Json& json) {
  google::protobuf::Value v;
  const auto status = google::protobuf::util::JsonStringToMessage(json.dump(), &v);
  if (!status.ok()) return WrongValue(path, "a number, text, truth value or list", json);
  return v;
}

// Arguments that every layer takes and none of ours needs.
bool IsHousekeeping(v1::Dialect dialect, const std::string& name) {
  static const auto& keras =
      *new std::set<std::string>{"name", "trainable", "dtype", "batch_input_shape", "batch_shape", "autocast"};
  return dialect == v1::KERAS ? keras.count(name) != 0 : name == "inplace";
}

// The definition in `json`; nothing if there is none.
absl::StatusOr<std::optional<v1::CustomComponent>> DefinitionOf(const std::string& path, const Json& json) {
  if (!json.is_object() || !json.contains(kKey)) return std::nullopt;
  v1::CustomComponent d;
  const auto status = google::protobuf::util::JsonStringToMessage(json[kKey].dump(), &d);
  if (!status.ok()) {
    return InvalidArgument(Below(path, kKey), ": must be a definition, got ", std::string(status.message()));
  }
  return d;
}

// Sets component, definition and hyper-parameters of a use.
template <typename M>
absl::Status SetUse(v1::Dialect dialect, const std::string& path, v1::CustomComponent d, const Json& json, M* use) {
  STRATA_ASSIGN_OR_RETURN(const Form form, FormOf(path, json));
  std::set<std::string> declared;
  for (const v1::Hyperparameter& h : d.hyperparameters()) declared.insert(h.name());
  auto& values = *use->mutable_hyperparameters()->mutable_fields();
  if (form.config != nullptr && form.config->is_object()) {
    for (const auto& [name, value] : form.config->items()) {
      if (declared.count(name) == 0) {
        if (IsHousekeeping(dialect, name)) continue;
        if (name == "reduction" && M::descriptor()->FindFieldByName(name) != nullptr) {
          STRATA_RETURN_IF_ERROR(
              SetField({.dialect = dialect}, Below(path, name), value, M::descriptor()->FindFieldByName(name), use));
          continue;
        }
        return InvalidArgument(Below(path, name), ": unknown argument, got ", Quote(value));
      }
      STRATA_ASSIGN_OR_RETURN(values[name], ToValue(Below(path, name), value));
    }
  }
  use->set_component(d.name());
  *use->mutable_definition() = std::move(d);
  return absl::OkStatus();
}

// `*argument` is x at first. "lambda t: t * 2" names its own; "tf.square" is a function of it.
absl::StatusOr<std::string> FunctionBody(const std::string& path, const Json& function, std::string* argument) {
  if (!function.is_string()) return WrongValue(path, "an expression in x", function);
  std::string text = function.get<std::string>();
  absl::string_view rest = absl::StripLeadingAsciiWhitespace(text);
  if (absl::ConsumePrefix(&rest, "lambda ")) {
    const size_t colon = rest.find(':');
    if (colon == absl::string_view::npos) return WrongValue(path, "an expression in x", function);
    *argument = std::string(absl::StripAsciiWhitespace(rest.substr(0, colon)));
    text = std::string(rest.substr(colon + 1));
  }
  const auto node = expr::ParseExpression(text);
  if (node.ok() && node->kind == expr::Node::Kind::kName && node->text != *argument &&
      expr::FindFunction(node->text) != nullptr) {
    return absl::StrCat(node->text, "(", *argument, ")");
  }
  return text;
}

absl::StatusOr<v1::CustomComponent> LambdaDefinition(const std::string& path, const Json& config) {
  v1::CustomComponent d;
  d.set_name("Lambda");
  d.set_kind(v1::CustomComponent::LAYER);
  std::string argument("x");
  STRATA_ASSIGN_OR_RETURN(*d.mutable_body(),
                          FunctionBody(Below(path, "function"), Member(config, "function"), &argument));
  d.add_inputs(argument);
  const Json& arguments = Member(config, "arguments");
  if (!arguments.is_null() && !arguments.is_object())
    return WrongValue(Below(path, "arguments"), "an object", arguments);
  for (const auto& [name, value] : arguments.items()) {
    const std::string at = Below(Below(path, "arguments"), name);
    v1::Hyperparameter* h = d.add_hyperparameters();
    h->set_name(name);
    // Python tells 2 from 2.0.
    if (value.is_number()) h->set_type(value.is_number_float() ? v1::Hyperparameter::FLOAT : v1::Hyperparameter::INT);
    STRATA_ASSIGN_OR_RETURN(*h->mutable_default_(), ToValue(at, value));
  }
  for (const auto& [name, value] : config.items()) {
    if (name == "function" || name == "arguments" || IsHousekeeping(v1::KERAS, name)) continue;
    if (name != "output_shape" && name != "mask" && name != "function_type" && name != "module" &&
        name != "output_shape_type" && name != "output_shape_module") {
      return InvalidArgument(Below(path, name), ": unknown argument, got ", Quote(value));
    }
    // The expression itself says the output's shape.
    if ((name == "output_shape" || name == "mask") && !value.is_null()) {
      return absl::UnimplementedError(absl::StrCat(Below(path, name), ": must be null, got ", Quote(value)));
    }
  }
  return d;
}

absl::StatusOr<v1::CustomComponent> ExpressionDefinition(const std::string& path, const Json& config,
                                                         v1::CustomComponent::Kind kind) {
  v1::CustomComponent d;
  d.set_name("Expression");
  d.set_kind(kind);
  for (const auto& [name, value] : config.items()) {
    if (name != "args" && name != "body")
      return InvalidArgument(Below(path, name), ": unknown argument, got ", Quote(value));
  }
  STRATA_ASSIGN_OR_RETURN(*d.mutable_body(), JsonString(Below(path, "body"), Member(config, "body")));
  const Json& args = Member(config, "args");
  if (!args.is_null() && !args.is_array()) return WrongValue(Below(path, "args"), "a list of names", args);
  for (const Json& arg : args) {
    STRATA_ASSIGN_OR_RETURN(*d.add_inputs(), JsonString(Below(path, "args"), arg));
  }
  const bool pair = kind != v1::CustomComponent::LAYER && d.inputs_size() >= 2;
  if (pair) {
    const std::string& first = d.inputs(0);
    d.set_target_first(first == "y_true" || first == "target" || first == "y" || first == "labels");
  }
  return d;
}

// A use of whatever kind: by a definition that came along, or by text in the component itself.
template <typename M>
absl::StatusOr<std::optional<M>> UseFrom(v1::Dialect dialect, const std::string& path, const Json& json,
                                         v1::CustomComponent::Kind kind) {
  const auto form = FormOf(path, json);
  if (!form.ok()) return std::nullopt;  // said better where other forms are read
  M use;
  STRATA_ASSIGN_OR_RETURN(std::optional<v1::CustomComponent> d, DefinitionOf(path, json));
  if (d.has_value()) {
    STRATA_RETURN_IF_ERROR(SetUse(dialect, path, *std::move(d), json, &use));
    return use;
  }
  static const Json& empty = *new Json(Json::object());
  const Json& config = form->config == nullptr ? empty : *form->config;
  if (form->kind != Form::Kind::kClass) return std::nullopt;
  if (dialect == v1::KERAS && form->name == "Lambda" && kind == v1::CustomComponent::LAYER) {
    STRATA_ASSIGN_OR_RETURN(*use.mutable_definition(), LambdaDefinition(path, config));
  } else if (dialect == v1::PYTORCH && form->name == "Expression") {
    STRATA_ASSIGN_OR_RETURN(*use.mutable_definition(), ExpressionDefinition(path, config, kind));
  } else {
    return std::nullopt;
  }
  use.set_component(use.definition().name());
  return use;
}

}  // namespace

Json WithDefinitions(Json json, const Definitions& definitions, bool texts) {
  if (definitions.empty()) return json;
  if (texts && json.is_string()) {
    const auto* d = Find(definitions, json.get<std::string>());
    if (d == nullptr) return json;
    return Json{{"function", json}, {"config", Json::object()}, {kKey, ToJson(*d)}};
  }
  Write(definitions, &json);
  return json;
}

absl::StatusOr<std::optional<v1::CustomLayer>> CustomLayerFrom(v1::Dialect dialect, const std::string& path,
                                                               const Json& json) {
  return UseFrom<v1::CustomLayer>(dialect, path, json, v1::CustomComponent::LAYER);
}
absl::StatusOr<std::optional<v1::CustomLoss>> CustomLossFrom(v1::Dialect dialect, const Json& json) {
  return UseFrom<v1::CustomLoss>(dialect, "", json, v1::CustomComponent::LOSS);
}
absl::StatusOr<std::optional<v1::CustomMetric>> CustomMetricFrom(v1::Dialect dialect, const Json& json) {
  return UseFrom<v1::CustomMetric>(dialect, "", json, v1::CustomComponent::METRIC);
}

Json WriteCustom(const v1::CustomComponent& d, const google::protobuf::Struct& values) {
  std::string text;
  STRATA_CHECK(google::protobuf::util::MessageToJsonString(values, &text).ok());
  Json config = Json::parse(text, nullptr, false);
  // What a Struct cannot tell: 2 as a float is 2.0.
  for (const v1::Hyperparameter& h : d.hyperparameters()) {
    const auto it = config.find(h.name());
    if (it != config.end() && h.type() == v1::Hyperparameter::FLOAT && it->is_number()) *it = it->get<double>();
  }
  if (d.name() == "Lambda" && d.inputs_size() == 1) {
    const bool x = d.inputs(0) == "x";
    return {{"function", x ? d.body() : absl::StrCat("lambda ", d.inputs(0), ": ", d.body())}, {"arguments", config}};
  }
  if (d.name() == "Expression") {
    return {{"args", std::vector<std::string>(d.inputs().begin(), d.inputs().end())}, {"body", d.body()}};
  }
  return config;
}

int NumCustomOutputs(const v1::CustomLayer& layer) {
  const v1::CustomComponent& d = layer.definition();
  const auto program = expr::Parse(d.body());
  if (!program.ok()) return 1;
  const int results = static_cast<int>(program->statements.back().values.size());
  return std::max(1, d.kind() == v1::CustomComponent::LAYER ? results - d.states_size() : results);
}

absl::Status WithoutOurPath(const std::string& path, const absl::Status& status) {
  absl::string_view text = status.message();
  for (absl::string_view ours : {"custom.hyperparameters.", "custom.definition.", "custom."}) {
    if (absl::ConsumePrefix(&text, ours)) break;
  }
  return status.ok() ? status : absl::Status(status.code(), Below(path, std::string(text)));
}

}  // namespace framework

}  // namespace strata
