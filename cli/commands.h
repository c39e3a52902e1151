// The subcommands. Each function adds its commands to the parser; a command that was chosen leaves what it does in
// `Command::run`, which main calls after parsing.
#pragma once

#include <functional>

#include "CLI/App.hpp"
#include "CLI/Config.hpp"  // App needs what these two define
#include "CLI/Formatter.hpp"
#include "absl/status/status.h"
#include "cli/client.h"

namespace strata::cli {

struct Command {
  Client::Options server;
  std::function<absl::Status(Client&)> run;
};

void AddModels(CLI::App& app, Command& command);      // models ...
void AddRuns(CLI::App& app, Command& command);        // runs ...
void AddTrain(CLI::App& app, Command& command);       // train
void AddInfer(CLI::App& app, Command& command);       // infer
void AddPlot(CLI::App& app, Command& command);        // plot
void AddComponents(CLI::App& app, Command& command);  // components
void AddFiles(CLI::App& app, Command& command);       // import, export, convert, inspect
void AddHealth(CLI::App& app, Command& command);      // health

// --weights present|averaged|best, and what it means.
void AddWeightChoice(CLI::App& app, std::string* choice);
v1::WeightChoice WeightChoiceOf(const std::string& choice);

// A whole number of at least `least`.
CLI::Validator AtLeast(int64_t least);

// "keras" or "pytorch".
v1::Dialect DialectOf(const std::string& name);
// --dialect keras|pytorch.
CLI::Option* AddDialect(CLI::App* app, std::string* dialect, const std::string& description);
// The axes of what was transposed, and the warnings.
void PrintConversion(const v1::ConvertResponse& response);

}  // namespace strata::cli
