// A power of the time that is left.
#include <algorithm>
#include <cmath>

#include "absl/status/statusor.h"
#include "engine/nn/schedules/component.h"
#include "engine/nn/schedules/intervals.h"

namespace strata::nn {
namespace {

absl::StatusOr<ScheduleRule> Make(v1::Dialect dialect, const v1::PolynomialSchedule& a) {
  ScheduleRule r;
  if (dialect == v1::PYTORCH) {
    r.rate = [a](double base, int64_t e) {
      const double left = 1 - Intervals(std::min(e, a.decay_steps()), a.decay_steps(), false);
      return base * std::pow(left, a.power());
    };
    return r;
  }
  r.rate = [a](double, int64_t e) {
    double length = static_cast<double>(a.decay_steps()), at = static_cast<double>(e);
    if (a.cycle()) {
      length *= e == 0 ? 1 : std::ceil(at / length);
    } else {
      at = std::min(at, length);
    }
    return (a.initial_learning_rate() - a.end_learning_rate()) * std::pow(1 - at / length, a.power()) +
           a.end_learning_rate();
  };
  return r;
}

}  // namespace

ScheduleComponent PolynomialSchedule() { return Schedule<v1::PolynomialSchedule>("polynomial", &Make); }

}  // namespace strata::nn
