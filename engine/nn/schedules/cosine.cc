// Half a wave of the cosine.
#include <algorithm>

#include "absl/status/statusor.h"
#include "engine/nn/schedules/component.h"
#include "engine/nn/schedules/intervals.h"

namespace strata::nn {
namespace {

absl::StatusOr<ScheduleRule> Make(v1::Dialect dialect, const v1::CosineSchedule& a) {
  ScheduleRule r;
  if (dialect == v1::PYTORCH) {
    r.rate = [a](double base, int64_t e) {
      const double fraction = static_cast<double>(e) / static_cast<double>(a.decay_steps());
      return a.eta_min() + (base - a.eta_min()) * HalfWave(fraction);
    };
    return r;
  }
  r.rate = [a](double, int64_t e) {
    double top = a.initial_learning_rate();
    if (a.has_warmup_target()) {
      if (e < a.warmup_steps()) {
        const double fraction = static_cast<double>(e) / static_cast<double>(a.warmup_steps());
        return top + (a.warmup_target() - top) * fraction;
      }
      top = a.warmup_target();
      e -= a.warmup_steps();
    }
    const double fraction = static_cast<double>(std::min(e, a.decay_steps())) / static_cast<double>(a.decay_steps());
    return top * ((1 - a.alpha()) * HalfWave(fraction) + a.alpha());
  };
  return r;
}

}  // namespace

ScheduleComponent CosineSchedule() { return Schedule<v1::CosineSchedule>("cosine", &Make); }

}  // namespace strata::nn
