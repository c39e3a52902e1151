// Learning-rate schedules in the frameworks' words: torch.optim.lr_scheduler, keras.optimizers.schedules and Keras'
// callbacks.
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/import/framework.h"
#include "engine/nn/schema.h"

namespace strata {
namespace framework {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Arguments that say how a scheduler is used or what it prints.
bool IsUsage(v1::Dialect dialect, const std::string& key, const Json& value) {
  if (key == "verbose") return true;
  if (dialect == v1::KERAS) return key == "name";
  return key == "last_epoch" && (value.is_null() || value == -1);
}

// {"class_name": "Expression", "config": {"args": ["e"], "body": "0.9 ** e"}}: a function of the epoch, in Keras of the
// rate before, too. Our names of them are `epoch` and `lr`.
absl::StatusOr<std::string> ExpressionOf(v1::Dialect dialect, const std::string& path, const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  STRATA_ASSIGN_OR_RETURN(const Form form, FormOf(path, value));
  if (form.name != "Expression" || form.config == nullptr) return WrongValue(path, "an expression", value);
  const char* ours[] = {"epoch", "lr"};
  const size_t most = dialect == v1::KERAS ? 2 : 1;
  const Json& args = Member(*form.config, "args");
  if (!args.is_array() || args.empty() || args.size() > most) {
    return WrongValue(absl::StrCat(path, ".args"), dialect == v1::KERAS ? "one or two names" : "one name", args);
  }
  std::string text;
  for (size_t i = 0; i < args.size(); ++i) {
    STRATA_ASSIGN_OR_RETURN(const std::string name, JsonString(absl::StrCat(path, ".args[", i, "]"), args[i]));
    if (name != ours[i]) absl::StrAppend(&text, name, " = ", ours[i], "\n");
  }
  STRATA_ASSIGN_OR_RETURN(const std::string body,
                          JsonString(absl::StrCat(path, ".body"), Member(*form.config, "body")));
  return text + body;
}

// One value for every parameter group stands for all of them.
Json Unlisted(const Json& value) {
  if (!value.is_array() || value.empty()) return value;
  for (const Json& v : value) {
    if (v != value[0]) return value;
  }
  return value[0];
}

absl::Status SetOption(v1::Dialect dialect, const std::string& path, const std::string& key, const Json& given,
                       Message* options) {
  const bool is_function =
      (key == "lr_lambda" && dialect == v1::PYTORCH) || (key == "schedule" && dialect == v1::KERAS);
  if (is_function) {
    const FieldDescriptor* expression = options->GetDescriptor()->FindFieldByName("expression");
    if (expression == nullptr) return InvalidArgument(path, ": unknown argument, got ", Quote(given));
    STRATA_ASSIGN_OR_RETURN(std::string text, ExpressionOf(dialect, path, Unlisted(given)));
    options->GetReflection()->SetString(options, expression, std::move(text));
    return absl::OkStatus();
  }
  if (IsUsage(dialect, key, given)) return absl::OkStatus();
  const FieldDescriptor* field = nn::FindArgument(options->GetDescriptor(), dialect, key);
  if (field == nullptr || field->name() == "expression") {
    return InvalidArgument(path, ": unknown argument, got ", Quote(given));
  }
  if (field->is_repeated()) {
    if (!given.is_array()) return WrongValue(path, "a list", given);
    return SetField({.dialect = dialect}, path, given, field, options);
  }
  static constexpr std::string_view kOfGroups[] = {"max_lr", "min_lr", "base_momentum", "max_momentum"};
  const bool of_groups = std::find(std::begin(kOfGroups), std::end(kOfGroups), key) != std::end(kOfGroups);
  return SetField({.dialect = dialect}, path, of_groups ? Unlisted(given) : given, field, options);
}

}  // namespace

absl::StatusOr<v1::Schedule> ScheduleFrom(v1::Dialect dialect, const std::string& path, const Json& json) {
  STRATA_ASSIGN_OR_RETURN(const Form form, FormOf(path, json));
  const FieldDescriptor* kind = nn::FindClass(v1::Schedule::descriptor(), dialect, form.name);
  if (kind == nullptr) return NoComponent(dialect, path, form);
  v1::Schedule schedule;
  Message* options = schedule.GetReflection()->MutableMessage(&schedule, kind);
  if (form.config != nullptr) {
    for (const auto& [key, value] : form.config->items()) {
      STRATA_RETURN_IF_ERROR(SetOption(dialect, Below(path, key), key, value, options));
    }
  }
  STRATA_RETURN_IF_ERROR(CheckRequired({.dialect = dialect}, path, *options));
  // Errors of the whole name fields below the kind: the framework knows no kind.
  v1::Schedule complete = schedule;
  const absl::Status status = nn::Fill(dialect, "", &complete);
  if (status.ok()) return complete;
  const std::string text(status.message()), prefix = kind->name() + ".";
  if (!absl::StartsWith(text, prefix)) return status;
  const size_t end = text.find(':');
  std::vector<std::string> names = absl::StrSplit(text.substr(prefix.size(), end - prefix.size()), '|');
  for (std::string& name : names) {
    const FieldDescriptor* field = kind->message_type()->FindFieldByName(name);
    if (field != nullptr) name = nn::ArgumentName(field, dialect);
  }
  return absl::InvalidArgumentError(Below(path, absl::StrCat(absl::StrJoin(names, "|"), text.substr(end))));
}

}  // namespace framework

absl::StatusOr<v1::Schedule> ImportSchedule(v1::Dialect dialect, std::string_view text) {
  STRATA_ASSIGN_OR_RETURN(const Json json, ParseJson(text));
  return framework::ScheduleFrom(dialect, "", json);
}

}  // namespace strata
