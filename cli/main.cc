// strata: the command line client.
//
// Exit codes: 0 done; 1 the server or a file said no (one line on standard error, "strata: CODE: message"); 2 wrong
// arguments; 3 no server answers.

#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "cli/commands.h"
#include "engine/base/heap.h"

namespace {

// As it was typed as far as it was understood: "strata models create".
std::string CommandNamed(const CLI::App& app) {
  std::string name = app.get_name();
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  if (!chosen.empty()) name += " " + CommandNamed(*chosen.front());
  return name;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace strata::cli;
  CLI::App app("Trains and queries models on a Strata server.", "strata");
  app.require_subcommand(1);
  app.fallthrough();
  app.option_defaults()->always_capture_default();
  app.footer("Exit codes: 0 done, 1 refused or failed, 2 wrong arguments, 3 no server answers.");

  strata::KeepFreedMemory();
  Command command;
  app.add_option("--server", command.server.address, "Address of the server")->envname("STRATA_SERVER");
  AddModels(app, command);
  AddTrain(app, command);
  AddRuns(app, command);
  AddPlot(app, command);
  AddInfer(app, command);
  AddComponents(app, command);
  AddFiles(app, command);
  AddHealth(app, command);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // CLI11 reports through exceptions; --help is one of them.
    if (error.get_exit_code() == 0) return app.exit(error);
    std::fprintf(stderr, "strata: %s; see %s --help\n", error.what(), CommandNamed(app).c_str());
    return 2;
  }

  Client client(command.server);
  const absl::Status status = command.run(client);
  // What could not be written, to a full disk for example, is no success.
  std::cout.flush();
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good();
  if (!written) std::fprintf(stderr, "strata: standard output: could not be written\n");
  if (status.ok()) return written ? 0 : 1;
  std::fprintf(stderr, "strata: %s\n", OneLine(status).c_str());
  return absl::IsUnavailable(status) ? 3 : 1;
}
