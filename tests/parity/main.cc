// strata-parity: runs golden cases.
//
//   strata-parity [--rows A1,L2] [--kinds layer,loss] [--list] [--verbose] [--case NAME] [--convert FILE] DIRECTORY...
//
// One line a case, then the numbers of passed, failed and skipped (not supported) cases, binding and companion apart.
// Exits with 1 if a binding case failed or is not supported, 2 for wrong usage.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/parity/case.h"
#include "tests/parity/conversions.h"
#include "tests/parity/result.h"

namespace strata::parity {
namespace {

struct Options {
  std::set<std::string> rows, kinds;
  std::string only;  // name of a case
  bool list = false, verbose = false, none = false, errors = false;
  std::string convert;  // file that lists the cases without counterpart; empty: run the cases as they are
  std::vector<std::string> directories;
};

constexpr char kUsage[] =
    "usage: strata-parity [--rows A1,L2] [--kinds layer,loss] [--case NAME] [--list] [--verbose] [--errors] "
    "DIRECTORY...\n"
    "  --list     only the cases that are not supported, each with what is missing\n"
    "  --none     succeed if no case passes: checks the runner with cases that are wrong\n"
    "  --convert FILE  the whole models of the cases in the other dialect; FILE lists those without counterpart\n"
    "  --verbose  also the details of passed cases\n"
    "  --errors   also each passed case's worst relative error over all of its floats, the largest first\n";

std::set<std::string> Set(const std::string& text) { return absl::StrSplit(text, ',', absl::SkipEmpty()); }

bool ParseOptions(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    std::string arg = argv[i], value;
    const bool takes_value = absl::StartsWith(arg, "--rows") || absl::StartsWith(arg, "--kinds") ||
                             absl::StartsWith(arg, "--case") || absl::StartsWith(arg, "--convert");
    if (takes_value) {
      const size_t equals = arg.find('=');
      if (equals != std::string::npos) {
        value = arg.substr(equals + 1);
        arg = arg.substr(0, equals);
      } else if (++i < argc) {
        value = argv[i];
      } else {
        return false;
      }
    }
    if (arg == "--rows") {
      options->rows = Set(value);
    } else if (arg == "--kinds") {
      options->kinds = Set(value);
    } else if (arg == "--case") {
      options->only = value;
    } else if (arg == "--list") {
      options->list = true;
    } else if (arg == "--convert") {
      options->convert = value;
    } else if (arg == "--none") {
      options->none = true;
    } else if (arg == "--errors") {
      options->errors = true;
    } else if (arg == "--verbose") {
      options->verbose = true;
    } else if (absl::StartsWith(arg, "-")) {
      return false;
    } else {
      options->directories.push_back(arg);
    }
  }
  return !options->directories.empty();
}

struct Tally {
  int passed = 0, failed = 0, skipped = 0;
  void Add(const Result& r) {
    passed += r.verdict == Result::Verdict::kPassed;
    failed += r.verdict == Result::Verdict::kFailed;
    skipped += r.verdict == Result::Verdict::kUnsupported;
  }
  void Print(const char* what) const {
    std::printf("%s: %d passed, %d failed, %d skipped\n", what, passed, failed, skipped);
  }
};

// The worst error of each case.
class ErrorTable {
 public:
  void Add(const std::string& label, const Result& r) {
    if (r.passed() && !r.worst_at.empty()) rows_.push_back({r.worst_error, absl::StrCat(label, "  ", r.worst_at)});
  }
  void Print() {
    std::stable_sort(rows_.begin(), rows_.end(), [](const Row& a, const Row& b) { return a.error > b.error; });
    for (const Row& row : rows_) std::printf("error %.1e  %s\n", row.error, row.at.c_str());
  }

 private:
  struct Row {
    double error = 0;
    std::string at;
  };
  std::vector<Row> rows_;
};

void PrintCase(const Options& options, const Case& c, const std::string& label, const Result& r) {
  const bool skipped = r.verdict == Result::Verdict::kUnsupported;
  if (options.list && !skipped) return;
  const char* word = skipped ? "skipped" : r.passed() ? "passed" : "FAILED";
  std::printf("%-7s %s%s", word, label.c_str(), c.binding ? "" : " (companion)");
  if (!r.passed()) std::printf("  %s", r.detail.c_str());
  if (r.passed() && options.verbose) std::printf("  %d compared", r.compared);
  std::printf("\n");
}

// The lines of a file; empty without a file.
std::set<std::string> LinesOf(const std::string& path) {
  std::ifstream file(path);
  std::set<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.insert(line);
  return lines;
}

// A case without counterpart must be listed, and a listed one have none.
void Expect(bool listed, Result* result) {
  if (listed && result->passed()) result->Fail("is listed as one without counterpart");
  if (!listed && result->verdict == Result::Verdict::kUnsupported) result->verdict = Result::Verdict::kFailed;
}

int Main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // a crash must not hide the cases before it
  Options options;
  if (!ParseOptions(argc, argv, &options)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  const std::set<std::string> without_counterpart = LinesOf(options.convert);
  Tally binding, companion;
  ErrorTable errors;
  for (const std::string& directory : options.directories) {
    const auto paths = FindCases(directory);
    if (!paths.ok()) {
      std::fprintf(stderr, "strata-parity: %s\n", std::string(paths.status().message()).c_str());
      return 2;
    }
    for (const std::string& path : *paths) {
      std::vector<std::string> parts = absl::StrSplit(path, '/');
      const std::string row = parts.size() > 1 ? parts[parts.size() - 2] : "";
      if (!options.rows.empty() && options.rows.count(row) == 0) continue;
      const size_t keep = std::min<size_t>(parts.size(), 3);
      std::string label;
      for (size_t i = parts.size() - keep; i < parts.size(); ++i)
        absl::StrAppend(&label, label.empty() ? "" : "/", parts[i]);
      label = label.substr(0, label.size() - 5);
      if (!options.only.empty() && !absl::StrContains(label, options.only)) continue;
      auto c = ReadCase(path);
      Result result;
      if (!c.ok()) {
        result.Fail(std::string(c.status().message()));
        c = Case();
      } else {
        if (!options.kinds.empty() && options.kinds.count(c->kind) == 0) continue;
        if (!options.convert.empty() && c->kind != "model" && c->kind != "training") continue;
        result = options.convert.empty() ? RunCase(*c) : RunConversion(*c);
        if (!options.convert.empty()) Expect(without_counterpart.count(label) > 0, &result);
      }
      (c->binding ? binding : companion).Add(result);
      errors.Add(label, result);
      PrintCase(options, *c, label, result);
    }
  }
  if (options.errors) errors.Print();
  binding.Print("binding");
  companion.Print("companion");
  if (binding.passed + binding.failed + binding.skipped + companion.passed + companion.failed + companion.skipped ==
      0) {
    std::fprintf(stderr, "strata-parity: no case found\n");
    return 2;
  }
  if (options.none) return binding.passed + companion.passed > 0 ? 1 : 0;
  if (!options.convert.empty()) return binding.failed + companion.failed > 0 ? 1 : 0;
  return binding.failed + binding.skipped > 0 ? 1 : 0;
}

}  // namespace
}  // namespace strata::parity

int main(int argc, char** argv) { return strata::parity::Main(argc, argv); }
