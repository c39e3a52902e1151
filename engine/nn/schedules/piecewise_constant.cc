// Given rates between given boundaries.
#include "absl/status/statusor.h"
#include "engine/nn/schedules/component.h"

namespace strata::nn {
namespace {

absl::StatusOr<ScheduleRule> Make(v1::Dialect, const v1::PiecewiseConstantSchedule& a) {
  ScheduleRule r;
  r.rate = [a](double, int64_t e) {
    int i = 0;
    while (i < a.boundaries_size() && static_cast<double>(e) > a.boundaries(i)) ++i;
    return a.values(i);
  };
  return r;
}

}  // namespace

ScheduleComponent PiecewiseConstantSchedule() {
  return Schedule<v1::PiecewiseConstantSchedule>("piecewise_constant", &Make);
}

}  // namespace strata::nn
