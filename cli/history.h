// The history of a run, read from the server.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/client.h"
#include "cli/plot.h"

namespace strata::cli {

struct History {
  v1::RunInfo run;
  std::vector<v1::StepResult> steps;
  std::vector<v1::EvaluateResult> evaluations;
};

// Everything up to the step that the run has now; does not wait for a run that goes on.
absl::StatusOr<History> ReadHistory(Client& client, const std::string& run);

// Loss, its average and the evaluations, or those of a metric; "loss" is the loss.
std::vector<Series> HistorySeries(const History& history, const std::string& what);

std::string StateName(v1::RunState state);

}  // namespace strata::cli
