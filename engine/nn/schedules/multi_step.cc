// A factor at each milestone.
#include <algorithm>
#include <cmath>

#include "absl/status/statusor.h"
#include "engine/nn/schedules/component.h"

namespace strata::nn {
namespace {

absl::StatusOr<ScheduleRule> Make(v1::Dialect, const v1::MultiStepSchedule& a) {
  ScheduleRule r;
  r.rate = [a](double base, int64_t e) {
    const auto passed = std::count_if(a.milestones().begin(), a.milestones().end(), [e](int64_t m) { return m <= e; });
    return base * std::pow(a.gamma(), static_cast<double>(passed));
  };
  return r;
}

}  // namespace

ScheduleComponent MultiStepSchedule() { return Schedule<v1::MultiStepSchedule>("multi_step", &Make); }

}  // namespace strata::nn
