// strata models: definitions and their published versions.

#include <algorithm>
#include <iostream>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/json.h"
#include "cli/terminal.h"
#include "engine/base/status.h"

namespace strata::cli {
namespace {

struct DefinitionFlags {
  std::string file;
  std::string name;
  bool keras = false;
  bool pytorch = false;
  std::vector<std::string> inputs;
};

void AddDefinition(CLI::App* app, DefinitionFlags& flags) {
  app->add_option("FILE", flags.file, "Model as JSON")->required()->check(CLI::ExistingFile);
  auto* keras = app->add_flag("--keras", flags.keras, "FILE is the text of Keras' model.to_json()");
  app->add_flag("--pytorch", flags.pytorch, "FILE is a {class_name, config} tree of PyTorch classes")->excludes(keras);
  app->add_option("--input", flags.inputs,
                  "Input of a PyTorch model, NAME:SHAPE without the batch, for example image:1,28,28");
}

// Fills the `definition` that Create and Validate share.
template <typename Request>
absl::Status FillDefinition(const DefinitionFlags& flags, Request* request) {
  STRATA_ASSIGN_OR_RETURN(std::string text, ReadFile(flags.file));
  if (!flags.keras && !flags.pytorch) {
    const absl::Status read = ReadJson(flags.file, request->mutable_model());
    if (read.ok() || !absl::StrContains(text, "\"class_name\"")) return read;
    return InvalidArgument(flags.file,
                           ": must be a strata.v1.Model, got a framework's definition; --keras reads "
                           "to_json() of Keras, --pytorch a tree of PyTorch's classes");
  }
  v1::FrameworkDefinition* framework = request->mutable_framework();
  framework->set_dialect(flags.keras ? v1::KERAS : v1::PYTORCH);
  framework->set_json(std::move(text));
  for (const std::string& input : flags.inputs) {
    STRATA_ASSIGN_OR_RETURN(*framework->add_inputs(), ParseInput(input));
  }
  return absl::OkStatus();
}

std::string DialectName(v1::Dialect dialect) { return dialect == v1::KERAS ? "Keras" : "PyTorch"; }

std::string ShapeText(const google::protobuf::RepeatedField<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::Status Create(Client& client, const DefinitionFlags& flags) {
  v1::CreateModelRequest request;
  STRATA_RETURN_IF_ERROR(FillDefinition(flags, &request));
  request.set_name(flags.name);
  STRATA_ASSIGN_OR_RETURN(v1::ModelInfo info, client.Call(client.models(), &v1::Models::Stub::Create, request));
  std::cout << "model " << info.name() << ": " << DialectName(info.definition().dialect()) << ", "
            << info.definition().layers_size() << " layers, digest " << info.digest().substr(0, 12) << "\n";
  return absl::OkStatus();
}

absl::Status ShowModel(Client& client, const std::string& name) {
  v1::GetModelRequest request;
  request.set_name(name);
  STRATA_ASSIGN_OR_RETURN(v1::ModelInfo info, client.Call(client.models(), &v1::Models::Stub::Get, request));
  std::cout << ToJson(info);
  return absl::OkStatus();
}

absl::Status ListModels(Client& client) {
  std::vector<std::vector<std::string>> rows;
  v1::ListModelsRequest request;
  do {
    STRATA_ASSIGN_OR_RETURN(v1::ListModelsResponse response,
                            client.Call(client.models(), &v1::Models::Stub::List, request));
    for (const v1::ModelInfo& info : response.models()) {
      rows.push_back(
          {info.name(), DialectName(info.definition().dialect()), absl::StrCat(info.definition().layers_size()),
           info.serving_version() == 0 ? "-" : absl::StrCat(info.serving_version()), LocalTime(info.created())});
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  std::cout << Table({"MODEL", "DIALECT", ">LAYERS", ">SERVING", "CREATED"}, rows);
  return absl::OkStatus();
}

absl::Status DeleteModel(Client& client, const std::string& name) {
  v1::DeleteModelRequest request;
  request.set_name(name);
  STRATA_RETURN_IF_ERROR(client.Call(client.models(), &v1::Models::Stub::Delete, request).status());
  std::cout << "model " << name << " deleted\n";
  return absl::OkStatus();
}

absl::Status Validate(Client& client, const DefinitionFlags& flags, int64_t batch, const std::string& config) {
  v1::ValidateModelRequest request;
  STRATA_RETURN_IF_ERROR(FillDefinition(flags, &request));
  request.set_batch_size(batch);
  if (!config.empty()) STRATA_RETURN_IF_ERROR(ReadJson(config, request.mutable_training()));
  STRATA_ASSIGN_OR_RETURN(v1::ValidateModelResponse facts,
                          client.Call(client.models(), &v1::Models::Stub::Validate, request));
  std::vector<std::vector<std::string>> rows;
  for (const auto& input : facts.inputs()) rows.push_back({"input", input.name(), ShapeText(input.shape())});
  for (const auto& parameter : facts.parameters()) {
    rows.push_back({parameter.trainable() ? "parameter" : "fixed", parameter.name(), ShapeText(parameter.shape())});
  }
  for (const auto& output : facts.outputs()) rows.push_back({"output", output.name(), ShapeText(output.shape())});
  std::cout << Table({"KIND", "NAME", "SHAPE"}, rows) << "\n"
            << Thousands(facts.num_parameters()) << " parameters, " << Thousands(facts.num_trainable_parameters())
            << " trainable; " << Thousands(facts.flops()) << " FLOPs for a batch of " << batch << "\nbytes: weights "
            << Thousands(facts.weight_bytes()) << ", gradients " << Thousands(facts.gradient_bytes()) << ", optimizer "
            << Thousands(facts.optimizer_bytes()) << ", activations " << Thousands(facts.activation_bytes()) << "\n";
  return absl::OkStatus();
}

absl::Status Summary(Client& client, const v1::SummaryRequest& request) {
  STRATA_ASSIGN_OR_RETURN(v1::SummaryResponse response,
                          client.Call(client.models(), &v1::Models::Stub::Summary, request));
  std::cout << response.text();
  if (!response.text().ends_with('\n')) std::cout << "\n";
  return absl::OkStatus();
}

absl::Status Versions(Client& client, const std::string& model) {
  v1::ListVersionsRequest request;
  request.set_model(model);
  STRATA_ASSIGN_OR_RETURN(v1::ListVersionsResponse response,
                          client.Call(client.models(), &v1::Models::Stub::ListVersions, request));
  std::vector<std::vector<std::string>> rows;
  for (const v1::VersionInfo& v : response.versions()) {
    rows.push_back({absl::StrCat(v.version()), v.serving() ? "serving" : "", v.run(), absl::StrCat(v.step()),
                    LocalTime(v.created()), v.digest().substr(0, 12), v.description()});
  }
  std::cout << Table({">VERSION", "STATE", "RUN", ">STEP", "CREATED", "DIGEST", "DESCRIPTION"}, rows);
  return absl::OkStatus();
}

absl::Status Rollback(Client& client, const std::string& model, int64_t version) {
  v1::RollbackRequest request;
  request.set_model(model);
  request.set_version(version);
  STRATA_ASSIGN_OR_RETURN(v1::VersionInfo info, client.Call(client.models(), &v1::Models::Stub::Rollback, request));
  std::cout << "model " << model << " serves version " << info.version() << " (run " << info.run() << ", step "
            << info.step() << ")\n";
  return absl::OkStatus();
}

absl::Status Publish(Client& client, const v1::PublishRequest& request) {
  STRATA_ASSIGN_OR_RETURN(v1::VersionInfo info, client.Call(client.models(), &v1::Models::Stub::Publish, request));
  std::cout << "model " << info.model() << ": version " << info.version() << " published from run " << info.run()
            << ", step " << info.step() << "\n";
  return absl::OkStatus();
}

absl::Status ConvertModel(Client& client, const v1::ConvertRequest& request) {
  STRATA_ASSIGN_OR_RETURN(v1::ConvertResponse response,
                          client.Call(client.models(), &v1::Models::Stub::Convert, request));
  std::cout << "model " << response.model().name() << ": " << DialectName(response.model().definition().dialect())
            << ", " << response.model().definition().layers_size() << " layers";
  if (response.has_version()) {
    std::cout << ", version " << response.version().version();
    if (!response.version().run().empty()) {
      std::cout << " from run " << response.version().run() << ", step " << response.version().step();
    }
  }
  std::cout << "\n";
  PrintConversion(response);
  return absl::OkStatus();
}

const std::map<std::string, v1::SummaryRequest::Style>& Styles() {
  static const auto& styles =
      *new std::map<std::string, v1::SummaryRequest::Style>{{"keras", v1::SummaryRequest::KERAS_TABLE},
                                                            {"torchkeras", v1::SummaryRequest::TORCHKERAS_TABLE},
                                                            {"pytorch", v1::SummaryRequest::PYTORCH_PRINT}};
  return styles;
}

}  // namespace

v1::Dialect DialectOf(const std::string& name) { return name == "keras" ? v1::KERAS : v1::PYTORCH; }

CLI::Option* AddDialect(CLI::App* app, std::string* dialect, const std::string& description) {
  return app->add_option("--dialect", *dialect, description)->check(CLI::IsMember({"keras", "pytorch"}));
}

void PrintConversion(const v1::ConvertResponse& response) {
  const auto print = [](const char* what, const v1::AxisOrder& order) {
    if (std::is_sorted(order.axes().begin(), order.axes().end())) return;
    std::cout << what << " " << order.name() << ": axes " << absl::StrJoin(order.axes(), ", ") << " of the old one\n";
  };
  for (const v1::AxisOrder& order : response.inputs()) print("input", order);
  for (const v1::AxisOrder& order : response.outputs()) print("output", order);
  for (const std::string& warning : response.warnings()) std::cout << "warning: " << warning << "\n";
}

void AddModels(CLI::App& app, Command& command) {
  CLI::App* models = app.add_subcommand("models", "Definitions and their published versions")->require_subcommand(1);

  // What the parser writes lives as long as the command that reads it.
  struct Flags {
    DefinitionFlags definition;
    std::string name;
    std::string config;
    std::string style;
    int64_t batch = 1;
    int64_t version = 0;
    std::string run, description, weights;
    std::string new_name, dialect;
    bool no_weights = false;
    std::vector<double> positions;
    int64_t line_length = 0;
    bool expand_nested = false, show_trainable = false;
  };
  auto flags = std::make_shared<Flags>();
  const auto add_name = [flags](CLI::App* sub) {
    sub->add_option("MODEL", flags->name, "Name of the model")->required();
  };

  CLI::App* create = models->add_subcommand("create", "Registers a definition");
  AddDefinition(create, flags->definition);
  create->add_option("--name", flags->definition.name, "Name of the model; default: the definition's own");
  create->callback([&command, flags] { command.run = [flags](Client& c) { return Create(c, flags->definition); }; });

  CLI::App* list = models->add_subcommand("list", "All models");
  list->callback([&command] { command.run = [](Client& c) { return ListModels(c); }; });

  CLI::App* get = models->add_subcommand("get", "One model as JSON");
  add_name(get);
  get->callback([&command, flags] { command.run = [flags](Client& c) { return ShowModel(c, flags->name); }; });

  CLI::App* remove = models->add_subcommand("delete", "Removes a model, its versions and the history of its runs");
  add_name(remove);
  remove->callback([&command, flags] { command.run = [flags](Client& c) { return DeleteModel(c, flags->name); }; });

  CLI::App* validate = models->add_subcommand("validate", "Checks a definition without registering it");
  AddDefinition(validate, flags->definition);
  validate->add_option("--batch", flags->batch, "Batch size for FLOPs and activations");
  validate->add_option("--config", flags->config, "Training configuration to check too (JSON)")
      ->check(CLI::ExistingFile);
  validate->callback([&command, flags] {
    command.run = [flags](Client& c) { return Validate(c, flags->definition, flags->batch, flags->config); };
  });

  CLI::App* summary = models->add_subcommand("summary", "A model as a table");
  add_name(summary);
  summary->add_option("--style", flags->style, "keras, torchkeras or pytorch; default: the dialect's own")
      ->check(CLI::IsMember({"keras", "torchkeras", "pytorch"}));
  summary->add_option("--line-length", flags->line_length, "Characters of a line (keras)");
  summary->add_option("--positions", flags->positions, "Where the columns end: parts of a line, or characters (keras)")
      ->delimiter(',');
  summary->add_flag("--expand-nested", flags->expand_nested, "List the layers of models within the model (keras)");
  summary->add_flag("--show-trainable", flags->show_trainable, "Say of each layer whether it is trained (keras)");
  summary->callback([&command, flags] {
    v1::SummaryRequest request;
    request.set_name(flags->name);
    if (const auto style = Styles().find(flags->style); style != Styles().end()) request.set_style(style->second);
    request.set_line_length(flags->line_length);
    request.mutable_positions()->Add(flags->positions.begin(), flags->positions.end());
    request.set_expand_nested(flags->expand_nested);
    request.set_show_trainable(flags->show_trainable);
    command.run = [request](Client& c) { return Summary(c, request); };
  });

  CLI::App* versions = models->add_subcommand("versions", "Published versions of a model");
  add_name(versions);
  versions->callback([&command, flags] { command.run = [flags](Client& c) { return Versions(c, flags->name); }; });

  CLI::App* rollback = models->add_subcommand("rollback", "Serves an older version");
  add_name(rollback);
  rollback->add_option("--version", flags->version, "Version to serve; default: the one before the present one");
  rollback->callback(
      [&command, flags] { command.run = [flags](Client& c) { return Rollback(c, flags->name, flags->version); }; });

  CLI::App* publish = models->add_subcommand("publish", "Makes the weights of a run the newest version");
  add_name(publish);
  publish->add_option("RUN", flags->run, "Name of the run")->required();
  publish->add_option("--description", flags->description, "Kept with the version");
  AddWeightChoice(*publish, &flags->weights);
  publish->callback([&command, flags] {
    command.run = [flags](Client& c) {
      v1::PublishRequest request;
      request.set_model(flags->name);
      request.set_run(flags->run);
      request.set_description(flags->description);
      request.set_weights(WeightChoiceOf(flags->weights));
      return Publish(c, request);
    };
  });

  CLI::App* convert = models->add_subcommand("convert", "Registers a model, with its weights, in the other dialect");
  add_name(convert);
  convert->add_option("NEW", flags->new_name, "Name of the new model")->required();
  AddDialect(convert, &flags->dialect, "Dialect of the new model: keras or pytorch")->required();
  auto* version = convert->add_option("--version", flags->version,
                                      "Version whose weights it gets; default: the one "
                                      "that serves, or the newest run");
  auto* run = convert->add_option("--run", flags->run, "Run whose weights it gets")->excludes(version);
  convert->add_flag("--no-weights", flags->no_weights, "The definition alone")->excludes(version)->excludes(run);
  convert->add_option("--description", flags->description, "Kept with the version");
  convert->callback([&command, flags] {
    command.run = [flags](Client& c) {
      v1::ConvertRequest request;
      request.set_model(flags->name);
      request.set_name(flags->new_name);
      request.set_dialect(DialectOf(flags->dialect));
      request.set_description(flags->description);
      if (flags->version != 0) request.set_version(flags->version);
      if (!flags->run.empty()) request.set_run(flags->run);
      if (flags->no_weights) request.set_none(true);
      return ConvertModel(c, request);
    };
  });
}

}  // namespace strata::cli
