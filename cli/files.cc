// strata import, export, convert, inspect: models as files.

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/commands.h"
#include "cli/input.h"
#include "cli/json.h"
#include "cli/reference.h"
#include "cli/terminal.h"
#include "cli/transfer.h"
#include "engine/base/status.h"

namespace strata::cli {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100000000;

struct FileFlags {
  std::string file, other, name, model, format, description;
  std::string keras, pytorch;       // definitions for files of weights alone
  std::vector<std::string> custom;  // files of custom components
  std::string run;
  std::vector<std::string> inputs;
  std::string dialect;  // of the result; empty: as it is
  bool not_strict = false;
};

// By name, "pytorch_state_dict", or by the file's ending.
absl::StatusOr<v1::FileFormat> FormatOf(const std::string& format, const std::string& file, v1::Dialect dialect) {
  v1::FileFormat value;
  if (!format.empty()) {
    std::string upper = format;
    for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    if (v1::FileFormat_Parse(upper, &value)) return value;
    return InvalidArgument("--format: must be a format's name, got ", format);
  }
  const bool keras = dialect == v1::KERAS;
  if (absl::EndsWith(file, ".strata")) return v1::NATIVE;
  if (absl::EndsWith(file, ".safetensors")) return keras ? v1::NATIVE : v1::PYTORCH_STATE_DICT;
  if (absl::EndsWith(file, ".py")) return v1::PYTORCH_SOURCE;
  if (absl::EndsWith(file, ".weights.h5")) return v1::KERAS_WEIGHTS;
  if (absl::EndsWith(file, ".h5") || absl::EndsWith(file, ".hdf5")) return v1::KERAS_HDF5;
  if (absl::EndsWith(file, ".keras")) return v1::KERAS_ARCHIVE;
  if (absl::EndsWith(file, ".json")) return keras ? v1::KERAS_DEFINITION : v1::PYTORCH_DEFINITION;
  return InvalidArgument("FILE: must end with .strata, .safetensors, .py, .h5, .weights.h5, .keras or .json, got ",
                         file);
}

absl::StatusOr<v1::ImportResponse> Send(Client& client, const FileFlags& flags) {
  v1::ImportStart start;
  start.set_name(flags.name);
  start.set_description(flags.description);
  start.set_strict(!flags.not_strict);
  if (!flags.keras.empty() || !flags.pytorch.empty()) {
    auto* definition = start.mutable_definition();
    definition->set_dialect(flags.keras.empty() ? v1::PYTORCH : v1::KERAS);
    STRATA_ASSIGN_OR_RETURN(*definition->mutable_json(), ReadFile(flags.keras.empty() ? flags.pytorch : flags.keras));
  }
  for (const std::string& text : flags.inputs) {
    STRATA_ASSIGN_OR_RETURN(*start.mutable_definition()->add_inputs(), ParseInput(text));
  }
  for (const std::string& file : flags.custom) {
    STRATA_RETURN_IF_ERROR(ReadJson(file, start.add_custom_components()));
  }
  return SendFile(client, std::move(start), flags.file);
}

absl::Status Import(Client& client, const FileFlags& flags) {
  STRATA_ASSIGN_OR_RETURN(const v1::ImportResponse response, Send(client, flags));
  std::cout << "model " << response.model().name() << " from " << v1::FileFormat_Name(response.format());
  if (response.has_version()) {
    std::cout << ", version " << response.version().version() << ", digest "
              << response.version().digest().substr(0, 12);
    if (response.version().resumable()) std::cout << ", with its training: strata train --from goes on with it";
  }
  std::cout << "\n";
  for (const std::string& key : response.missing_keys()) std::cout << "missing key: " << key << "\n";
  for (const std::string& key : response.unexpected_keys()) std::cout << "unexpected key: " << key << "\n";
  for (const std::string& warning : response.warnings()) std::cout << warning << "\n";
  return absl::OkStatus();
}

absl::Status Receive(Client& client, const v1::ExportRequest& request, const std::string& path) {
  STRATA_ASSIGN_OR_RETURN(const v1::ExportHeader header, ReceiveFile(client, request, path));
  std::cout << path << ": " << v1::FileFormat_Name(header.format()) << ", " << header.size() << " bytes";
  if (header.version() != 0) std::cout << ", version " << header.version();
  if (!header.run().empty()) std::cout << ", run " << header.run() << " at step " << header.step();
  std::cout << ", digest " << header.digest().substr(0, 12) << "\n";
  return absl::OkStatus();
}

// A run's checkpoint is ours unless the file's ending or --format says otherwise.
absl::StatusOr<v1::FileFormat> FormatOfExport(const FileFlags& flags, bool run, v1::Dialect dialect) {
  if (run && flags.format.empty() && absl::EndsWith(flags.file, ".safetensors")) return v1::NATIVE;
  return FormatOf(flags.format, flags.file, dialect);
}

absl::Status Export(Client& client, const FileFlags& given) {
  FileFlags flags = given;
  // With --run the model need not be named.
  if (flags.file.empty() && !flags.run.empty()) std::swap(flags.model, flags.file);
  if (flags.file.empty()) return InvalidArgument("FILE: must be given");
  v1::ExportRequest request;
  request.set_run(flags.run);
  int64_t version = 0;
  if (!flags.model.empty()) {
    STRATA_ASSIGN_OR_RETURN(const Reference model,
                            ParseReference("MODEL", "NAME, NAME@VERSION or NAME@RUN", flags.model));
    request.set_model(model.name);
    const bool marked = !model.which.empty();
    if (marked && !flags.run.empty()) return InvalidArgument("MODEL: must be NAME beside --run, got ", flags.model);
    if (marked && !absl::SimpleAtoi(model.which, &version)) request.set_run(model.which);
    if (version < 0 || (marked && version == 0 && request.run().empty())) {
      return InvalidArgument("MODEL: must have a version from 1 on, got ", flags.model);
    }
  }
  request.set_version(version);
  if (request.model().empty()) {
    v1::GetRunRequest run;
    run.set_run(flags.run);
    STRATA_ASSIGN_OR_RETURN(const v1::RunInfo found, client.Call(client.training(), &v1::Training::Stub::GetRun, run));
    request.set_model(found.model());
  }
  v1::GetModelRequest get;
  get.set_name(request.model());
  STRATA_ASSIGN_OR_RETURN(const v1::ModelInfo info, client.Call(client.models(), &v1::Models::Stub::Get, get));
  STRATA_ASSIGN_OR_RETURN(const v1::FileFormat format,
                          FormatOfExport(flags, !request.run().empty(), info.definition().dialect()));
  request.set_format(format);
  return Receive(client, request, flags.file);
}

absl::Status Remove(Client& client, const std::string& name) {
  v1::DeleteModelRequest remove;
  remove.set_name(name);
  return client.Call(client.models(), &v1::Models::Stub::Delete, remove).status();
}

// A name that no model has: what is made under it goes again, and a model of somebody's must not.
std::string PassingName() {
  std::random_device random;
  return absl::StrCat("convert-", absl::Hex(random(), absl::kZeroPad8), absl::Hex(random(), absl::kZeroPad8));
}

// "net" of "models/net.state.safetensors".
std::string Stem(const std::string& path) {
  const std::string file = path.substr(path.rfind('/') + 1);
  return file.substr(0, file.find('.', 1));
}

// Imports the file, converts it if another dialect is asked for, and exports it. `names` are those of the models that
// this leaves behind.
absl::Status ImportAndExport(Client& client, FileFlags flags, std::vector<std::string>* names) {
  const std::string wanted = flags.name;
  flags.name = PassingName();
  STRATA_ASSIGN_OR_RETURN(const v1::ImportResponse imported, Send(client, flags));
  names->push_back(flags.name);
  v1::Dialect dialect = imported.model().definition().dialect();
  v1::ExportRequest request;
  request.set_model(flags.name);
  if (!flags.dialect.empty() && DialectOf(flags.dialect) != dialect) {
    v1::ConvertRequest convert;
    convert.set_model(flags.name);
    convert.set_name(flags.name + "-" + flags.dialect);
    convert.set_dialect(DialectOf(flags.dialect));
    STRATA_ASSIGN_OR_RETURN(const v1::ConvertResponse converted,
                            client.Call(client.models(), &v1::Models::Stub::Convert, convert));
    names->push_back(convert.name());
    PrintConversion(converted);
    dialect = convert.dialect();
    request.set_model(convert.name());
  }
  STRATA_ASSIGN_OR_RETURN(const v1::FileFormat format, FormatOf(flags.format, flags.other, dialect));
  request.set_format(format);
  request.set_name(!wanted.empty()                   ? wanted
                   : imported.name_in_file().empty() ? Stem(flags.file)
                                                     : imported.name_in_file());
  return Receive(client, request, flags.other);
}

// Through the server, under names that go again.
absl::Status Convert(Client& client, const FileFlags& flags) {
  std::vector<std::string> names;
  const absl::Status status = ImportAndExport(client, flags, &names);
  for (const std::string& name : names) Remove(client, name).IgnoreError();
  return status;
}

// The exit code of a program that is given its arguments as they are.
absl::StatusOr<int> RunProgram(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  pid_t child = 0;
  if (posix_spawn(&child, argv[0], nullptr, nullptr, argv.data(), environ) != 0) {
    return absl::UnavailableError(absl::StrCat(arguments[0], ": cannot be started"));
  }
  int state = 0;
  while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
}

// The header of a safetensors file as a table.
absl::Status PrintTensors(const std::string& bytes) {
  uint64_t size = 0;
  if (bytes.size() < 8) return absl::DataLossError("safetensors: shorter than 8 bytes");
  std::memcpy(&size, bytes.data(), 8);
  if (size > kMaxHeaderBytes || size > bytes.size() - 8)
    return absl::DataLossError("safetensors: header longer than the file");
  const auto header =
      nlohmann::json::parse(bytes.begin() + 8, bytes.begin() + 8 + static_cast<int64_t>(size), nullptr, false);
  if (!header.is_object()) return absl::DataLossError("safetensors: the header is no JSON object");
  std::vector<std::vector<std::string>> rows;
  int64_t total = 0;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    if (!entry.is_object() || !entry.contains("shape") || !entry["shape"].is_array()) {
      return absl::DataLossError(absl::StrCat("safetensors: ", name, ": has no shape"));
    }
    int64_t count = 1;
    std::vector<std::string> sizes;
    for (const auto& d : entry["shape"]) {
      sizes.push_back(d.dump());
      count *= d.is_number_integer() ? d.get<int64_t>() : 1;
    }
    total += count;
    rows.push_back({name, entry.contains("dtype") ? entry["dtype"].dump() : "",
                    absl::StrCat("[", absl::StrJoin(sizes, ", "), "]"), absl::StrCat(count)});
  }
  std::cout << Table({"TENSOR", "TYPE", "SHAPE", ">ELEMENTS"}, rows) << rows.size() << " tensors, " << total
            << " elements\n";
  const auto metadata = header.find("__metadata__");
  if (metadata == header.end() || !metadata->is_object()) return absl::OkStatus();
  for (const auto& [key, value] : metadata->items()) {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    std::cout << key << ": " << text.substr(0, 200) << (text.size() > 200 ? "..." : "") << "\n";
  }
  return absl::OkStatus();
}

// Without a server. HDF5 files and archives are read by the tool beside us.
absl::Status InspectFile(const FileFlags& flags) {
  STRATA_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(flags.file));
  const bool container =
      absl::StartsWith(bytes, absl::string_view("\x89HDF\r\n\x1a\n", 8)) || absl::StartsWith(bytes, "PK\x03\x04");
  // torch.save writes a zip whose first entry is <name>/data.pkl.
  const bool zipped = absl::StartsWith(bytes, "PK") && absl::StrContains(bytes.substr(0, 512), ".pkl");
  const bool tensors = bytes.size() > 8 && bytes[8] == '{';
  if (zipped || (!tensors && !bytes.empty() && bytes[0] == '\x80')) {
    return InvalidArgument("file: must not be pickled (reading it would execute code), got a pickle");
  }
  if (!container) {
    if (tensors) return PrintTensors(bytes);
    const auto json = nlohmann::json::parse(bytes, nullptr, false);
    if (json.is_discarded()) return InvalidArgument("file: must be safetensors, HDF5, a .keras archive or JSON");
    std::cout << json.dump(2) << "\n";
    return absl::OkStatus();
  }
  std::string self(4096, '\0');
  const ssize_t n = ::readlink("/proc/self/exe", self.data(), self.size());
  self.resize(n > 0 ? static_cast<size_t>(n) : 0);
  std::string out = "/tmp/strata-inspect-XXXXXX";
  const int fd = ::mkstemp(out.data());
  if (fd < 0) return absl::InternalError("file: no temporary file can be made");
  ::close(fd);
  STRATA_ASSIGN_OR_RETURN(const int code, RunProgram({absl::StrCat(self.substr(0, self.rfind('/')), "/strata-file"),
                                                      "unpack", flags.file, out}));
  absl::Status status = code == 0 ? absl::OkStatus() : absl::DataLossError("file: cannot be read");
  if (status.ok()) {
    const auto tensors = ReadFile(out);
    status = tensors.ok() ? PrintTensors(*tensors) : tensors.status();
  }
  ::unlink(out.c_str());
  ::unlink(absl::StrCat(out, ".h5").c_str());
  return status;
}

void AddImportFlags(CLI::App* app, FileFlags& flags) {
  app->add_option("FILE", flags.file, "safetensors, .h5, .keras or JSON")->required()->check(CLI::ExistingFile);
  auto* keras = app->add_option("--keras", flags.keras, "Definition for a file of weights: Keras' to_json()");
  app->add_option("--pytorch", flags.pytorch,
                  "Definition for a state dict: a {class_name, config} tree of PyTorch classes")
      ->excludes(keras);
  app->add_option("--input", flags.inputs,
                  "Input of a PyTorch model, NAME:SHAPE without the batch, for example image:1,28,28");
  app->add_option("--custom", flags.custom, "Custom component that class names mean (JSON); may be repeated")
      ->check(CLI::ExistingFile);
  app->add_flag("--not-strict", flags.not_strict, "Missing keys keep their values, unexpected ones are ignored");
}

}  // namespace

void AddFiles(CLI::App& app, Command& command) {
  auto flags = std::make_shared<FileFlags>();
  auto* import = app.add_subcommand("import", "Registers the model of a file and publishes its weights");
  AddImportFlags(import, *flags);
  import->add_option("--name", flags->name, "Name of the model; weights alone go to the model of this name");
  import->add_option("--description", flags->description, "Description of the version");
  const auto runs = [flags, &command](CLI::App* sub, absl::Status (*run)(Client&, const FileFlags&)) {
    sub->callback(
        [flags, &command, run] { command.run = [flags, run](Client& client) { return run(client, *flags); }; });
  };
  runs(import, &Import);

  auto* out = app.add_subcommand("export", "Writes a model, a version of it or a run's checkpoint into a file");
  out->add_option("MODEL", flags->model, "NAME, NAME@VERSION or NAME@RUN")->required();
  out->add_option("FILE", flags->file, "Its ending chooses the format");
  out->add_option("--run", flags->run, "The last checkpoint of this run in place of a version");
  out->add_option("--format", flags->format, "Format by name, for example native");
  runs(out, &Export);

  auto* convert = app.add_subcommand("convert", "Rewrites a model file in another format or dialect");
  AddImportFlags(convert, *flags);
  convert->add_option("--name", flags->name, "Name of the model in OUT; default: the one in FILE");
  convert->add_option("OUT", flags->other, "Its ending chooses the format")->required();
  convert->add_option("--format", flags->format, "Format by name, for example native");
  AddDialect(convert, &flags->dialect, "Dialect of OUT, keras or pytorch; default: that of FILE");
  runs(convert, &Convert);

  auto* inspect = app.add_subcommand("inspect", "Shows what a file holds; needs no server");
  inspect->add_option("FILE", flags->file, "Any model file")->required()->check(CLI::ExistingFile);
  runs(inspect, [](Client&, const FileFlags& f) { return InspectFile(f); });
}

}  // namespace strata::cli
