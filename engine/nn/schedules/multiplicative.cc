// Factors by an expression, multiplied.
#include <memory>

#include "absl/status/statusor.h"
#include "engine/nn/schedules/component.h"
#include "engine/nn/schedules/formula.h"

namespace strata::nn {
namespace {

absl::StatusOr<ScheduleRule> Make(v1::Dialect, const v1::MultiplicativeSchedule& a) {
  STRATA_ASSIGN_OR_RETURN(const std::shared_ptr<const Formula> f,
                          Formula::Make("multiplicative", a.expression(), {"epoch"}));
  ScheduleRule r;
  r.rate = [f, last = std::make_shared<Last>()](double base, int64_t e) {
    if (last->e < 0 || e < last->e) *last = {0, 1, 0};
    while (last->e < e) last->value *= f->At(++last->e, 0);
    return base * last->value;
  };
  return r;
}

}  // namespace

ScheduleComponent MultiplicativeSchedule() { return Schedule<v1::MultiplicativeSchedule>("multiplicative", &Make); }

}  // namespace strata::nn
