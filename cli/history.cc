#include "cli/history.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"

namespace strata::cli {
namespace {

constexpr int kGrey = 90, kCyan = 36, kYellow = 33;

template <typename Result>
double ValueOf(const Result& result, const std::string& what) {
  if (what == "loss") return result.loss();
  const auto it = result.metrics().find(what);
  return it == result.metrics().end() ? std::numeric_limits<double>::quiet_NaN() : it->second;
}

}  // namespace

std::string StateName(v1::RunState state) { return v1::RunState_Name(state); }

absl::StatusOr<History> ReadHistory(Client& client, const std::string& run) {
  History history;
  v1::GetRunRequest get;
  get.set_run(run);
  STRATA_ASSIGN_OR_RETURN(history.run, client.Call(client.training(), &v1::Training::Stub::GetRun, get));

  grpc::ClientContext context;
  v1::WatchRunRequest watch;
  watch.set_run(run);
  const auto reader = client.training().WatchRun(&context, watch);
  const uint64_t last = history.run.step();
  v1::RunEvent event;
  bool complete = last == 0;
  while (!complete && reader->Read(&event)) {
    if (event.has_step()) history.steps.push_back(event.step());
    if (event.has_evaluation()) history.evaluations.push_back(event.evaluation());
    // A run that still lives never ends its stream: an evaluation of the last step is read if it comes before a newer
    // step.
    const bool reached = event.has_step() && event.step().step() >= last;
    const bool evaluated =
        !history.run.has_last_evaluation() ||
        (!history.evaluations.empty() && history.evaluations.back().step() >= history.run.last_evaluation().step());
    complete = (reached && evaluated) || (event.has_evaluation() && event.evaluation().step() >= last);
  }
  context.TryCancel();
  const absl::Status status = FromGrpc(reader->Finish());
  if (!complete && !status.ok()) return status;
  return history;
}

std::vector<Series> HistorySeries(const History& history, const std::string& what) {
  std::vector<Series> result;
  Series steps{.name = what, .colour = kGrey};
  for (const auto& step : history.steps) {
    const double value = ValueOf(step, what);
    if (std::isfinite(value)) steps.points.emplace_back(step.step(), value);
  }
  if (!steps.points.empty()) {
    Series mean{.name = "moving average", .points = Smooth(steps.points, 0.95), .colour = kCyan};
    result.push_back(std::move(steps));
    result.push_back(std::move(mean));
  }
  Series evaluations{.colour = kYellow, .markers = true};
  for (const auto& evaluation : history.evaluations) {
    const double value = ValueOf(evaluation, what);
    if (std::isfinite(value)) evaluations.points.emplace_back(evaluation.step(), value);
    evaluations.name = evaluation.name().empty() ? "validation" : evaluation.name();
  }
  if (!evaluations.points.empty()) result.push_back(std::move(evaluations));
  return result;
}

}  // namespace strata::cli
