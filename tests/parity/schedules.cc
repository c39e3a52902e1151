// Kind `schedule`: the rate (and momentum) before every step of a schedule.
#include <optional>

#include "engine/base/status.h"
#include "engine/import/framework.h"
#include "engine/nn/schedules/schedule.h"
#include "tests/parity/case.h"
#include "tests/parity/result.h"

namespace strata::parity {
namespace {

RefTensor Vector(std::vector<double> values) {
  const int64_t n = static_cast<int64_t>(values.size());
  return {{n}, std::move(values)};
}

// Keras' callback: the rate after each epoch's value.
void RunCallback(const Case& c, const v1::Schedule& schedule, const nn::ScheduleRule& rule, Result* result) {
  nn::Plateau plateau(c.dialect, schedule.plateau());
  std::vector<double> rates;
  for (const Json& value : c.call["values"]) {
    plateau.Observe(value.get<double>());
    rates.push_back(rule.rate(c.call["initial_learning_rate"].get<double>(), plateau.reductions()));
  }
  result->CompareTo(c, "engine", Vector(rates), "output.learning_rate");
}

}  // namespace

Result RunSchedule(const Case& c) {
  Result result;
  const auto schedule = ImportSchedule(c.dialect, c.ComponentText());
  result.Take("import", schedule.status());
  if (!schedule.ok()) return result;
  const auto rule = nn::MakeSchedule(c.dialect, *schedule);
  result.Take("make", rule.status());
  if (!rule.ok()) return result;
  if (c.call.contains("values")) {
    RunCallback(c, *schedule, *rule, &result);
    return result;
  }
  std::optional<nn::Plateau> plateau;
  if (schedule->has_plateau()) plateau.emplace(c.dialect, schedule->plateau());
  const Tensor* metrics = c.Find("input.metrics");
  const double base = c.call.value("base_lr", 0.0);
  std::vector<double> rates, momenta;
  int64_t next = 0;  // of the plateau's values
  for (const Json& step : c.call["steps"]) {
    const int64_t at = step.get<int64_t>();
    for (; plateau.has_value() && metrics != nullptr && next < at && next < metrics->num_elements(); ++next) {
      plateau->Observe(metrics->At(next));
    }
    const int64_t e = plateau.has_value() ? plateau->reductions() : at;
    rates.push_back(rule->rate(base, e));
    if (rule->momentum) momenta.push_back(rule->momentum(e));
  }
  result.CompareTo(c, "engine", Vector(rates), "output.learning_rate");
  if (c.Find("output.momentum") != nullptr) result.CompareTo(c, "engine", Vector(momenta), "output.momentum");
  return result;
}

}  // namespace strata::parity
