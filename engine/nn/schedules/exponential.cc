// A rate that is multiplied again and again.
#include <cmath>

#include "absl/status/statusor.h"
#include "engine/nn/schedules/component.h"
#include "engine/nn/schedules/intervals.h"

namespace strata::nn {
namespace {

absl::StatusOr<ScheduleRule> Make(v1::Dialect dialect, const v1::ExponentialSchedule& a) {
  ScheduleRule r;
  if (dialect == v1::PYTORCH) {
    r.rate = [gamma = a.decay_rate()](double base, int64_t e) {
      return base * std::pow(gamma, static_cast<double>(e));
    };
  } else {
    r.rate = [a](double, int64_t e) {
      return a.initial_learning_rate() * std::pow(a.decay_rate(), Intervals(e, a.decay_steps(), a.staircase()));
    };
  }
  return r;
}

}  // namespace

ScheduleComponent ExponentialSchedule() { return Schedule<v1::ExponentialSchedule>("exponential", &Make); }

}  // namespace strata::nn
