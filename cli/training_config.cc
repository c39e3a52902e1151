#include "cli/training_config.h"

#include "absl/strings/str_join.h"
#include "cli/json.h"
#include "engine/base/status.h"

namespace strata::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Chooses the member of a message's oneof "kind" by name and returns it.
absl::StatusOr<Message*> ChooseKind(const std::string& flag, const std::string& name, Message* message) {
  const auto* kinds = message->GetDescriptor()->FindOneofByName("kind");
  STRATA_CHECK(kinds != nullptr);
  std::vector<std::string> names;
  for (int i = 0; i < kinds->field_count(); ++i) {
    const FieldDescriptor* field = kinds->field(i);
    if (field->name() == name) return message->GetReflection()->MutableMessage(message, field);
    names.push_back(field->name());
  }
  return InvalidArgument("--", flag, ": must be one of ", absl::StrJoin(names, ", "), ", got \"", name, "\"");
}

absl::Status SetNumber(const std::string& flag, const std::string& field_name, std::optional<double> value,
                       Message* message) {
  if (!value.has_value()) return absl::OkStatus();
  const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(field_name);
  if (field == nullptr)
    return InvalidArgument("--", flag, ": ", message->GetDescriptor()->name(), " has no ", field_name);
  message->GetReflection()->SetDouble(message, field, *value);
  return absl::OkStatus();
}

// The member of `kind` that is set.
Message* ChosenKind(Message* message) {
  const auto* reflection = message->GetReflection();
  const FieldDescriptor* field =
      reflection->GetOneofFieldDescriptor(*message, message->GetDescriptor()->FindOneofByName("kind"));
  return field == nullptr ? nullptr : reflection->MutableMessage(message, field);
}

}  // namespace

absl::StatusOr<v1::TrainingConfig> MakeConfig(const ConfigFlags& flags, v1::Dialect dialect) {
  v1::TrainingConfig config;
  if (!flags.file.empty()) STRATA_RETURN_IF_ERROR(ReadJson(flags.file, &config));

  if (!flags.loss.empty() || config.objectives().empty()) {
    const std::string usual = dialect == v1::KERAS ? "sparse_categorical_crossentropy" : "cross_entropy";
    v1::Objective* objective = config.objectives().empty() ? config.add_objectives() : config.mutable_objectives(0);
    STRATA_RETURN_IF_ERROR(
        ChooseKind("loss", flags.loss.empty() ? usual : flags.loss, objective->mutable_loss()).status());
  }
  if (!flags.optimizer.empty() || !config.has_optimizer()) {
    STRATA_RETURN_IF_ERROR(
        ChooseKind("optimizer", flags.optimizer.empty() ? "adam" : flags.optimizer, config.mutable_optimizer())
            .status());
  }
  if (Message* optimizer = ChosenKind(config.mutable_optimizer()); optimizer != nullptr) {
    STRATA_RETURN_IF_ERROR(SetNumber("lr", "learning_rate", flags.learning_rate, optimizer));
    STRATA_RETURN_IF_ERROR(SetNumber("momentum", "momentum", flags.momentum, optimizer));
  }
  if (flags.weight_decay.has_value()) config.mutable_optimizer()->set_weight_decay(*flags.weight_decay);
  if (flags.clip_norm.has_value()) {
    config.mutable_optimizer()->mutable_clipping()->set_global_norm(*flags.clip_norm);
  }
  if (!flags.metrics.empty()) config.clear_metrics();
  std::vector<std::string> metrics = flags.metrics;
  if (config.metrics().empty() && metrics.empty()) metrics.push_back("accuracy");
  for (const std::string& name : metrics) {
    STRATA_RETURN_IF_ERROR(ChooseKind("metric", name, config.add_metrics()->mutable_metric()).status());
  }
  if (flags.seed != 0) config.set_seed(flags.seed);
  if (flags.checkpoint_every != 0) config.set_checkpoint_every_steps(flags.checkpoint_every);
  return config;
}

}  // namespace strata::cli
