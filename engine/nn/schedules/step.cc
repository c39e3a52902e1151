// A factor every few epochs.
#include <cmath>

#include "absl/status/statusor.h"
#include "engine/nn/schedules/component.h"

namespace strata::nn {
namespace {

absl::StatusOr<ScheduleRule> Make(v1::Dialect, const v1::StepSchedule& a) {
  ScheduleRule r;
  r.rate = [a](double base, int64_t e) { return base * std::pow(a.gamma(), static_cast<double>(e / a.step_size())); };
  return r;
}

}  // namespace

ScheduleComponent StepSchedule() { return Schedule<v1::StepSchedule>("step", &Make); }

}  // namespace strata::nn
