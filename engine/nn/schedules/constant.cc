// A factor that holds for a while.
#include "absl/status/statusor.h"
#include "engine/nn/schedules/component.h"

namespace strata::nn {
namespace {

absl::StatusOr<ScheduleRule> Make(v1::Dialect, const v1::ConstantSchedule& a) {
  ScheduleRule r;
  // PyTorch divides the factor out again at the end of `total_iters`, which the steps after 0 never meet if it is 0.
  r.rate = [a](double base, int64_t e) {
    return e < a.total_iters() || a.total_iters() == 0 ? base * a.factor() : base;
  };
  return r;
}

}  // namespace

ScheduleComponent ConstantSchedule() { return Schedule<v1::ConstantSchedule>("constant", &Make); }

}  // namespace strata::nn
