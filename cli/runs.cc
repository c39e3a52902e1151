// strata runs and strata plot: trainings, past and present.

#include <algorithm>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/history.h"
#include "cli/json.h"
#include "cli/plot.h"
#include "cli/terminal.h"
#include "engine/base/status.h"

namespace strata::cli {
namespace {

std::string Metrics(const google::protobuf::Map<std::string, double>& metrics) {
  const std::map<std::string, double> sorted(metrics.begin(), metrics.end());
  std::string text;
  for (const auto& [name, value] : sorted) absl::StrAppendFormat(&text, "  %s %.4f", name, value);
  return text;
}

absl::Status ListRuns(Client& client, const std::string& model) {
  std::vector<std::vector<std::string>> rows;
  v1::ListRunsRequest request;
  request.set_model(model);
  do {
    STRATA_ASSIGN_OR_RETURN(v1::ListRunsResponse response,
                            client.Call(client.training(), &v1::Training::Stub::ListRuns, request));
    for (const v1::RunInfo& run : response.runs()) {
      rows.push_back({run.run(), run.model(), StateName(run.state()), absl::StrCat(run.step()),
                      absl::StrCat(run.durable_through()),
                      run.has_last() ? absl::StrFormat("%.4f", run.last().loss()) : "-", LocalTime(run.updated()),
                      run.error()});
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  std::cout << Table({"RUN", "MODEL", "STATE", ">STEP", ">DURABLE", ">LOSS", "UPDATED", "ERROR"}, rows);
  return absl::OkStatus();
}

absl::Status ShowRun(Client& client, const std::string& name) {
  v1::GetRunRequest request;
  request.set_run(name);
  STRATA_ASSIGN_OR_RETURN(v1::RunInfo run, client.Call(client.training(), &v1::Training::Stub::GetRun, request));
  std::cout << ToJson(run);
  return absl::OkStatus();
}

absl::Status Cancel(Client& client, const std::string& name) {
  v1::CancelRunRequest request;
  request.set_run(name);
  STRATA_ASSIGN_OR_RETURN(v1::RunInfo run, client.Call(client.training(), &v1::Training::Stub::CancelRun, request));
  std::cout << "run " << run.run() << ": " << StateName(run.state()) << " at step " << run.step() << "\n";
  return absl::OkStatus();
}

void PrintEvent(const v1::RunEvent& event) {
  if (event.has_step()) {
    const v1::StepResult& s = event.step();
    std::cout << absl::StrFormat("step %d  loss %.4f%s  lr %g  %.0f samples/s%s\n", s.step(), s.loss(),
                                 Metrics(s.metrics()), s.learning_rate(), s.samples_per_second(),
                                 s.skipped() ? "  skipped: not finite" : "");
  } else if (event.has_evaluation()) {
    const v1::EvaluateResult& e = event.evaluation();
    std::cout << absl::StrFormat("step %d  %s: loss %.4f%s  (%d samples)\n", e.step(), e.name(), e.loss(),
                                 Metrics(e.metrics()), e.samples());
  } else if (event.has_state()) {
    std::cout << "run " << event.state().run() << ": " << StateName(event.state().state()) << " at step "
              << event.state().step() << (event.state().error().empty() ? "" : ": ") << event.state().error() << "\n";
  }
  std::cout.flush();
}

absl::Status Watch(Client& client, const std::string& name, uint64_t from_step) {
  grpc::ClientContext context;
  v1::WatchRunRequest request;
  request.set_run(name);
  request.set_from_step(from_step);
  const auto reader = client.training().WatchRun(&context, request);
  v1::RunEvent event;
  while (reader->Read(&event)) PrintEvent(event);
  return FromGrpc(reader->Finish());
}

absl::Status Plot(Client& client, const std::string& name, const std::string& what, int height) {
  STRATA_ASSIGN_OR_RETURN(History history, ReadHistory(client, name));
  const std::string chart =
      DrawPlot(HistorySeries(history, what), {.width = std::min(Width(), 120), .height = height, .colour = Colour()});
  if (chart.empty()) {
    return absl::NotFoundError(absl::StrCat("run \"", name, "\" has no history of \"", what, "\""));
  }
  std::cout << "run " << name << " of model " << history.run.model() << ": " << what << " by step\n" << chart;
  return absl::OkStatus();
}

}  // namespace

void AddRuns(CLI::App& app, Command& command) {
  CLI::App* runs = app.add_subcommand("runs", "Trainings, past and present")->require_subcommand(1);
  struct Flags {
    std::string name;
    std::string model;
    uint64_t from_step = 1;
  };
  auto flags = std::make_shared<Flags>();
  const auto add_name = [flags](CLI::App* sub) { sub->add_option("RUN", flags->name, "Name of the run")->required(); };

  CLI::App* list = runs->add_subcommand("list", "All runs");
  list->add_option("--model", flags->model, "Only runs of this model");
  list->callback([&command, flags] { command.run = [flags](Client& c) { return ListRuns(c, flags->model); }; });

  CLI::App* get = runs->add_subcommand("get", "One run as JSON");
  add_name(get);
  get->callback([&command, flags] { command.run = [flags](Client& c) { return ShowRun(c, flags->name); }; });

  CLI::App* cancel = runs->add_subcommand("cancel", "Ends a run");
  add_name(cancel);
  cancel->callback([&command, flags] { command.run = [flags](Client& c) { return Cancel(c, flags->name); }; });

  CLI::App* watch = runs->add_subcommand("watch", "Prints the history of a run, then its steps as they happen");
  add_name(watch);
  watch->add_option("--from-step", flags->from_step, "First step that is printed");
  watch->callback(
      [&command, flags] { command.run = [flags](Client& c) { return Watch(c, flags->name, flags->from_step); }; });
}

void AddPlot(CLI::App& app, Command& command) {
  CLI::App* plot = app.add_subcommand("plot", "Draws the loss curve of a run");
  struct Flags {
    std::string run;
    std::string what = "loss";
    int height = 16;
  };
  auto flags = std::make_shared<Flags>();
  plot->add_option("RUN", flags->run, "Name of the run")->required();
  plot->add_option("--metric", flags->what, "What is drawn: loss, or the name of a metric");
  plot->add_option("--height", flags->height, "Lines of the chart")->check(CLI::Range(3, 200));
  plot->callback([&command, flags] {
    command.run = [flags](Client& c) { return Plot(c, flags->run, flags->what, flags->height); };
  });
}

}  // namespace strata::cli
