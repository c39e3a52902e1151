#include "service/arguments.h"

#include <cstdio>
#include <map>
#include <string>

#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "service/server.h"

namespace strata::service {
namespace {

void PrintHelp(const std::string& defined_in) {
  std::printf("Trains and serves neural networks over gRPC.\n  strata-server --data_dir=DIR [--FLAG=VALUE...]\n\n");
  std::map<absl::string_view, absl::CommandLineFlag*> sorted;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (absl::EndsWith(flag->Filename(), defined_in)) sorted[name] = flag;
  }
  for (const auto& [name, flag] : sorted) {
    const std::string standard = flag->DefaultValue();
    std::printf("  --%.*s\n      %s%s\n", static_cast<int>(name.size()), name.data(), flag->Help().c_str(),
                standard.empty() ? "" : absl::StrCat("; default ", standard).c_str());
  }
  std::printf(
      "\nSIGTERM and SIGINT end it in order. Exit codes: 0 ended in order, 1 could not start, 2 wrong arguments.\n");
}

const char* KindOf(const absl::CommandLineFlag& flag) {
  if (flag.IsOfType<absl::Duration>()) return "a duration such as 5s or 250ms";
  if (flag.IsOfType<int>()) return "a whole number of 32 bits";
  return "a value of its kind";
}

// What is wrong with the arguments; empty: nothing.
std::string Wrong(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view argument = argv[i];
    if (argument.size() < 2 || argument[0] != '-' || argument == "--") {
      return absl::StrCat("takes no arguments but flags, got \"", argument, "\"");
    }
    absl::string_view name = argument.substr(argument[1] == '-' ? 2 : 1);
    const size_t equals = name.find('=');
    const bool has_value = equals != absl::string_view::npos;
    absl::string_view value = has_value ? name.substr(equals + 1) : absl::string_view();
    name = name.substr(0, equals);
    absl::CommandLineFlag* const flag = absl::FindCommandLineFlag(name);
    if (flag == nullptr) return absl::StrCat("--", name, " is no flag; see --help");
    if (flag->IsOfType<bool>()) continue;  // of Abseil's own; it needs no value
    if (!has_value) {
      if (++i == argc) return absl::StrCat("--", name, " must have a value, got nothing");
      value = argv[i];
    }
    std::string error;
    if (!flag->ParseFrom(value, &error)) {
      return absl::StrCat("--", name, " must be ", KindOf(*flag), ", got \"", value, "\"");
    }
  }
  return "";
}

}  // namespace

std::optional<int> AnswerArguments(int argc, char** argv, const std::string& defined_in) {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view argument = argv[i];
    if (argument == "--help" || argument == "-help" || argument == "-h") {
      PrintHelp(defined_in);
      return 0;
    }
    if (argument == "--version" || argument == "-version") {
      std::printf("strata-server %s\n", ServerVersion().c_str());
      return 0;
    }
  }
  const std::string wrong = Wrong(argc, argv);
  if (wrong.empty()) return std::nullopt;
  std::fprintf(stderr, "strata-server: %s\n", wrong.c_str());
  return 2;
}

}  // namespace strata::service
