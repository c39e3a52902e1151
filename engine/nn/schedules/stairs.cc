// Rates that change at given places, and factors that hold or move for a while.
#include <algorithm>
#include <cmath>

#include "engine/nn/schedules/schedule.h"

namespace strata::nn {

ScheduleRule MakeStep(const v1::StepSchedule& a) {
  ScheduleRule r;
  r.rate = [a](double base, int64_t e) { return base * std::pow(a.gamma(), static_cast<double>(e / a.step_size())); };
  return r;
}

ScheduleRule MakeMultiStep(const v1::MultiStepSchedule& a) {
  ScheduleRule r;
  r.rate = [a](double base, int64_t e) {
    const auto passed = std::count_if(a.milestones().begin(), a.milestones().end(), [e](int64_t m) { return m <= e; });
    return base * std::pow(a.gamma(), static_cast<double>(passed));
  };
  return r;
}

ScheduleRule MakePiecewiseConstant(const v1::PiecewiseConstantSchedule& a) {
  ScheduleRule r;
  r.rate = [a](double, int64_t e) {
    int i = 0;
    while (i < a.boundaries_size() && static_cast<double>(e) > a.boundaries(i)) ++i;
    return a.values(i);
  };
  return r;
}

ScheduleRule MakeLinear(const v1::LinearSchedule& a) {
  ScheduleRule r;
  r.rate = [a](double base, int64_t e) {
    const double done = a.total_iters() == 0
                            ? 1
                            : static_cast<double>(std::min(e, a.total_iters())) / static_cast<double>(a.total_iters());
    return base * (a.start_factor() + (a.end_factor() - a.start_factor()) * done);
  };
  return r;
}

ScheduleRule MakeConstant(const v1::ConstantSchedule& a) {
  ScheduleRule r;
  r.rate = [a](double base, int64_t e) { return e < a.total_iters() ? base * a.factor() : base; };
  return r;
}

}  // namespace strata::nn
