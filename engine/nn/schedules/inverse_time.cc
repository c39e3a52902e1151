// A rate divided by a growing line.
#include "absl/status/statusor.h"
#include "engine/nn/schedules/component.h"
#include "engine/nn/schedules/intervals.h"

namespace strata::nn {
namespace {

absl::StatusOr<ScheduleRule> Make(v1::Dialect, const v1::InverseTimeSchedule& a) {
  ScheduleRule r;
  r.rate = [a](double, int64_t e) {
    return a.initial_learning_rate() / (1 + a.decay_rate() * Intervals(e, a.decay_steps(), a.staircase()));
  };
  return r;
}

}  // namespace

ScheduleComponent InverseTimeSchedule() { return Schedule<v1::InverseTimeSchedule>("inverse_time", &Make); }

}  // namespace strata::nn
