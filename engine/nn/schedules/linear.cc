// A factor that moves along a line for a while.
#include <algorithm>

#include "absl/status/statusor.h"
#include "engine/nn/schedules/component.h"

namespace strata::nn {
namespace {

absl::StatusOr<ScheduleRule> Make(v1::Dialect, const v1::LinearSchedule& a) {
  ScheduleRule r;
  r.rate = [a](double base, int64_t e) {
    // PyTorch never leaves the start if there is no way to go.
    const double done = a.total_iters() == 0
                            ? 0
                            : static_cast<double>(std::min(e, a.total_iters())) / static_cast<double>(a.total_iters());
    return base * (a.start_factor() + (a.end_factor() - a.start_factor()) * done);
  };
  return r;
}

}  // namespace

ScheduleComponent LinearSchedule() { return Schedule<v1::LinearSchedule>("linear", &Make); }

}  // namespace strata::nn
