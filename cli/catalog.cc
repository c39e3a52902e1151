// strata components and strata health: what the server offers, and whether it is well.

#include <grpcpp/generic/generic_stub.h>

#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/commands.h"
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
  std::vector<std::vector<std::string>> rows;
  for (const v1::FieldInfo& field : info.fields()) {
    const auto only = field.schema().only();
    rows.push_back({field.name(), absl::StrCat(field.type(), field.repeated() ? "[]" : ""), Default(field.schema()),
                    only == v1::PYTORCH ? "PyTorch"
                    : only == v1::KERAS ? "Keras"
                                        : "",
                    field.schema().doc()});
  }
  if (!rows.empty()) std::cout << "\n" << Table({"FIELD", "TYPE", "DEFAULT", "ONLY", "MEANING"}, rows);
}

absl::Status Components(Client& client, const std::string& family, const std::string& name) {
  v1::ListComponentsRequest request;
  request.set_family(family);
  STRATA_ASSIGN_OR_RETURN(v1::ListComponentsResponse response,
                          client.Call(client.catalog(), &v1::Catalog::Stub::ListComponents, request));
  if (!name.empty()) {
    for (const auto& info : response.components()) {
      if (info.name() != name) continue;
      PrintDetail(info);
      return absl::OkStatus();
    }
    return absl::NotFoundError(absl::StrCat("family \"", family, "\" has no component \"", name, "\""));
  }
  std::vector<std::vector<std::string>> rows;
  for (const auto& info : response.components()) {
    rows.push_back({info.family(), info.name(), Frameworks(info.schema()), info.schema().doc()});
  }
  std::cout << Table({"FAMILY", "NAME", "FRAMEWORKS", "MEANING"}, rows);
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
      app.add_subcommand("components", "Layers, losses, metrics, optimizers and more, with their fields");
  struct Flags {
    std::string family, name;
  };
  auto flags = std::make_shared<Flags>();
  components->add_option("FAMILY", flags->family,
                         "layer, loss, metric, optimizer, initializer, constraint or activation");
  components->add_option("NAME", flags->name, "One component: its fields and defaults");
  components->callback(
      [&command, flags] { command.run = [flags](Client& c) { return Components(c, flags->family, flags->name); }; });
}

void AddHealth(CLI::App& app, Command& command) {
  CLI::App* health = app.add_subcommand("health", "Asks the server whether it is ready");
  auto service = std::make_shared<std::string>();
  health->add_option("SERVICE", *service, "Name of a service or model; default: the whole server");
  health->callback([&command, service] { command.run = [service](Client& c) { return Health(c, *service); }; });
}

}  // namespace strata::cli
