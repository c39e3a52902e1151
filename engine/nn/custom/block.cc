// Blocks: models whose values follow hyper-parameters.
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/expr/parser.h"
#include "engine/nn/custom/custom.h"
#include "google/protobuf/util/json_util.h"

namespace strata::nn {
namespace {

using V = google::protobuf::Value;

absl::Status ToValue(const std::string& path, const expr::Object& object, V* v) {
  if (const expr::Number* n = object.number(); n != nullptr) {
    if (n->kind == expr::Number::Kind::kBool) {
      v->set_bool_value(n->integer != 0);
    } else {
      v->set_number_value(n->AsDouble());
    }
  } else if (object.text() != nullptr) {
    v->set_string_value(*object.text());
  } else if (object.list() != nullptr) {
    v->mutable_list_value();
    for (const expr::Object& item : *object.list()) {
      STRATA_RETURN_IF_ERROR(ToValue(path, item, v->mutable_list_value()->add_values()));
    }
  } else if (object.is_none()) {
    v->set_null_value(google::protobuf::NULL_VALUE);
  } else {
    return InvalidArgument(path, ": must be a number, text or list, got ", expr::Describe(object));
  }
  return absl::OkStatus();
}

// Replaces texts that begin with "=" by their values.
absl::Status Substitute(const std::string& path, const expr::Environment& environment, V* v) {
  if (v->kind_case() == V::kStringValue && !v->string_value().empty() && v->string_value()[0] == '=') {
    const auto fail = [&](const absl::Status& s) { return InvalidArgument(path, ":", s.message()); };
    const auto node = expr::ParseExpression(v->string_value().substr(1));
    if (!node.ok()) return fail(node.status());
    const auto object = expr::Evaluator(nullptr, environment).Evaluate(*node);
    if (!object.ok()) return fail(object.status());
    return ToValue(path, *object, v);
  }
  if (v->kind_case() == V::kListValue) {
    for (int i = 0; i < v->list_value().values_size(); ++i) {
      STRATA_RETURN_IF_ERROR(
          Substitute(absl::StrCat(path, "[", i, "]"), environment, v->mutable_list_value()->mutable_values(i)));
    }
  } else if (v->kind_case() == V::kStructValue) {
    for (auto& [name, item] : *v->mutable_struct_value()->mutable_fields()) {
      STRATA_RETURN_IF_ERROR(Substitute(absl::StrCat(path, ".", name), environment, &item));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::Model> ExpandBlock(const std::string& path, const v1::CustomLayer& use) {
  const v1::CustomComponent& d = use.definition();
  V whole;
  *whole.mutable_struct_value() = d.block();
  const std::string at = path + ".definition.block";
  expr::Environment environment;
  environment.names = HyperparameterValues(d, use.hyperparameters());
  STRATA_RETURN_IF_ERROR(Substitute(at, environment, &whole));
  std::string json;
  auto status = google::protobuf::util::MessageToJsonString(whole, &json);
  v1::Model model;
  if (status.ok()) status = google::protobuf::util::JsonStringToMessage(json, &model);
  if (!status.ok()) return InvalidArgument(at, ": must be a model, got ", std::string(status.message()));
  if (model.name().empty()) model.set_name(d.name());
  return model;
}

}  // namespace strata::nn
