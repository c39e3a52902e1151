// strata components and strata health: what the server offers, and whether it is well.

#include <grpcpp/generic/generic_stub.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/commands.h"
#include "cli/json.h"
#include "cli/reference.h"
#include "cli/terminal.h"
#include "engine/base/status.h"
#include "google/protobuf/wrappers.pb.h"

namespace strata::cli {
namespace {

std::string Frameworks(const v1::ComponentSchema& schema) {
  std::vector<std::string> names;
  if (!schema.pytorch().empty()) names.push_back(absl::StrCat("PyTorch ", absl::StrJoin(schema.pytorch(), " ")));
  if (!schema.keras().empty()) names.push_back(absl::StrCat("Keras ", absl::StrJoin(schema.keras(), " ")));
  return absl::StrJoin(names, ", ");
}

std::string Default(const v1::FieldSchema& schema) {
  if (schema.required()) return "(required)";
  std::vector<std::string> parts;
  if (!schema.default_().empty()) parts.push_back(schema.default_());
  if (!schema.pytorch_default().empty()) parts.push_back(absl::StrCat("PyTorch ", schema.pytorch_default()));
  if (!schema.keras_default().empty()) parts.push_back(absl::StrCat("Keras ", schema.keras_default()));
  return absl::StrJoin(parts, ", ");
}

void PrintDetail(const v1::ComponentInfo& info) {
  std::cout << info.family() << " " << info.name() << ": " << info.schema().doc() << "\n";
  if (!info.schema().formula().empty()) std::cout << "  " << info.schema().formula() << "\n";
  if (const std::string names = Frameworks(info.schema()); !names.empty()) std::cout << "  " << names << "\n";
  for (const std::string& text : info.schema().gotcha()) std::cout << "  ! " << text << "\n";
  std::vector<std::vector<std::string>> rows;
  for (const v1::FieldInfo& field : info.fields()) {
    const auto only = field.schema().only();
    rows.push_back({field.name(), absl::StrCat(field.type(), field.repeated() ? "[]" : ""), Default(field.schema()),
                    only == v1::PYTORCH ? "PyTorch"
                    : only == v1::KERAS ? "Keras"
                                        : "",
                    field.schema().doc()});
  }
  if (!info.shapes().empty()) std::cout << "  shapes: " << info.shapes() << "\n";
  if (!info.arguments().empty()) std::cout << "  arguments: " << info.arguments() << "\n";
  if (!rows.empty()) std::cout << "\n" << Table({"FIELD", "TYPE", "DEFAULT", "ONLY", "MEANING"}, rows);
  if (!info.example().empty()) std::cout << "\nexample: " << info.example() << "\n";
}

// Whether a framework calls it so: Conv2d, Conv2D, mse.
bool HasFrameworkName(const v1::ComponentInfo& info, const std::string& name) {
  const v1::ComponentSchema& s = info.schema();
  for (const auto* names : {&s.pytorch(), &s.keras(), &s.pytorch_function(), &s.keras_function()}) {
    if (std::find(names->begin(), names->end(), name) != names->end()) return true;
  }
  return false;
}

absl::StatusOr<v1::ListComponentsResponse> ListOf(Client& client, const std::string& family) {
  v1::ListComponentsRequest request;
  request.set_family(family);
  return client.Call(client.catalog(), &v1::Catalog::Stub::ListComponents, request);
}

std::string KindOf(const v1::CustomComponent& component) {
  return absl::AsciiStrToLower(v1::CustomComponent::Kind_Name(component.kind()));
}

absl::Status ListComponents(Client& client, const std::string& family) {
  STRATA_ASSIGN_OR_RETURN(const v1::ListComponentsResponse response, ListOf(client, family));
  std::vector<std::vector<std::string>> rows;
  for (const auto& info : response.components()) {
    rows.push_back({info.family(), info.name(), Frameworks(info.schema()), info.schema().doc()});
  }
  // The server sends those of all families; a cell and a block stand where layers do.
  for (const auto& info : response.custom()) {
    const v1::CustomComponent& c = info.component();
    const std::string kind = KindOf(c);
    const std::string& of = kind == "cell" || kind == "block" ? "layer" : kind;
    if (!family.empty() && family != of) continue;
    rows.push_back({of, absl::StrCat(c.name(), "@", c.version()), absl::StrCat("registered ", kind), c.doc()});
  }
  std::cout << Table({"FAMILY", "NAME", "FRAMEWORKS", "MEANING"}, rows);
  return absl::OkStatus();
}

// Of a registered component.
absl::StatusOr<Reference> ComponentOf(const std::string& text) {
  return ParseReference("NAME", "NAME or NAME@VERSION", text);
}

absl::Status ShowComponent(Client& client, const std::string& text, const std::string& family) {
  STRATA_ASSIGN_OR_RETURN(const Reference reference, ComponentOf(text));
  bool found = false;
  if (reference.which.empty()) {
    STRATA_ASSIGN_OR_RETURN(const v1::ListComponentsResponse response, ListOf(client, family));
    // A name may stand in several families: a loss and a metric. Our own names go before the frameworks'.
    const auto print_if = [&](const auto& matches) {
      for (const auto& info : response.components()) {
        if (!matches(info)) continue;
        if (found) std::cout << "\n";
        PrintDetail(info);
        found = true;
      }
    };
    print_if([&](const v1::ComponentInfo& info) { return info.name() == reference.name; });
    if (!found) print_if([&](const v1::ComponentInfo& info) { return HasFrameworkName(info, reference.name); });
  }
  if (found) return absl::OkStatus();
  v1::GetComponentRequest request;
  request.set_name(reference.name);
  request.set_version(reference.which);
  STRATA_ASSIGN_OR_RETURN(const v1::CustomComponentInfo info,
                          client.Call(client.catalog(), &v1::Catalog::Stub::GetComponent, request));
  std::cout << ToJson(info);
  return absl::OkStatus();
}

absl::Status Register(Client& client, const std::string& file) {
  v1::RegisterComponentRequest request;
  STRATA_RETURN_IF_ERROR(ReadJson(file, request.mutable_component()));
  STRATA_ASSIGN_OR_RETURN(const v1::CustomComponentInfo info,
                          client.Call(client.catalog(), &v1::Catalog::Stub::RegisterComponent, request));
  std::cout << "registered " << KindOf(info.component()) << " " << info.component().name() << "@"
            << info.component().version() << "\n";
  return absl::OkStatus();
}

absl::Status DeleteComponent(Client& client, const std::string& text) {
  STRATA_ASSIGN_OR_RETURN(const Reference reference, ComponentOf(text));
  v1::DeleteComponentRequest request;
  request.set_name(reference.name);
  request.set_version(reference.which);
  STRATA_RETURN_IF_ERROR(client.Call(client.catalog(), &v1::Catalog::Stub::DeleteComponent, request).status());
  std::cout << "deleted component " << text << "\n";
  return absl::OkStatus();
}

// grpc.health.v1.Health/Check. Its request is one string in field 1 and its answer one enum in field 1: the wrapper
// types of Protocol Buffers have the same wire form, so no copy of the definition is needed.
absl::StatusOr<int> Check(Client& client, const std::string& service) {
  using google::protobuf::Int32Value;
  using google::protobuf::StringValue;
  grpc::TemplatedGenericStub<StringValue, Int32Value> stub(client.channel());
  StringValue request;
  request.set_value(service);
  Int32Value response;
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(5)));
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue);
  call->StartCall();
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag;
  bool ok;
  queue.Next(&tag, &ok);
  STRATA_RETURN_IF_ERROR(FromGrpc(status));
  return response.value();
}

absl::Status Health(Client& client, const std::string& service) {
  constexpr int kServing = 1;
  static constexpr const char* kNames[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
  STRATA_ASSIGN_OR_RETURN(const int state, Check(client, service));
  std::cout << (service.empty() ? "server" : service) << ": " << (state >= 0 && state < 4 ? kNames[state] : "UNKNOWN")
            << "\n";
  if (service.empty()) {
    STRATA_ASSIGN_OR_RETURN(auto metadata,
                            client.Call(client.inference(), &inference::GRPCInferenceService::Stub::ServerMetadata,
                                        inference::ServerMetadataRequest()));
    std::cout << metadata.name() << " " << metadata.version()
              << "; extensions: " << absl::StrJoin(metadata.extensions(), " ") << "\n";
  }
  return state == kServing ? absl::OkStatus() : absl::FailedPreconditionError("is not serving");
}

}  // namespace

void AddComponents(CLI::App& app, Command& command) {
  CLI::App* components =
      app.add_subcommand("components", "Layers, losses, metrics, optimizers and more; registering your own")
          ->require_subcommand(1);
  struct Flags {
    std::string family, name, file;
  };
  auto flags = std::make_shared<Flags>();
  const std::string families = "layer, loss, metric, optimizer, schedule, initializer, constraint or activation";

  CLI::App* list = components->add_subcommand("list", "All components, or those of a family");
  list->add_option("FAMILY", flags->family, families);
  list->callback([&command, flags] { command.run = [flags](Client& c) { return ListComponents(c, flags->family); }; });

  CLI::App* get =
      components->add_subcommand("get", "One component: its fields and defaults, or its registered definition");
  get->add_option("NAME", flags->name, "Name; NAME@VERSION of a registered one")->required();
  get->add_option("--family", flags->family, families);
  get->callback(
      [&command, flags] { command.run = [flags](Client& c) { return ShowComponent(c, flags->name, flags->family); }; });

  CLI::App* add = components->add_subcommand("register", "Makes a custom component known to all models created later");
  add->add_option("FILE", flags->file, "Definition as JSON (strata.v1.CustomComponent)")
      ->required()
      ->check(CLI::ExistingFile);
  add->callback([&command, flags] { command.run = [flags](Client& c) { return Register(c, flags->file); }; });

  CLI::App* remove = components->add_subcommand("delete", "Forgets a registered component; models keep its definition");
  remove->add_option("NAME", flags->name, "NAME: all versions; NAME@VERSION")->required();
  remove->callback([&command, flags] { command.run = [flags](Client& c) { return DeleteComponent(c, flags->name); }; });
}

void AddHealth(CLI::App& app, Command& command) {
  CLI::App* health = app.add_subcommand("health", "Asks the server whether it is ready");
  auto service = std::make_shared<std::string>();
  health->add_option("SERVICE", *service, "Name of a service or model; default: the whole server");
  health->callback([&command, service] { command.run = [service](Client& c) { return Health(c, *service); }; });
}

}  // namespace strata::cli
