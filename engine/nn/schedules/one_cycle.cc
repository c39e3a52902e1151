// OneCycleLR: phases of a cycle, each a slope of the rate and of the momentum.
#include <algorithm>

#include "absl/status/statusor.h"
#include "engine/nn/schedules/component.h"

namespace strata::nn {
namespace {

struct Phase {
  double end;  // last step
  double rate_from, rate_to, momentum_from, momentum_to;
};

std::vector<Phase> PhasesOf(const v1::OneCycleSchedule& a, double total) {
  const double top = a.max_learning_rate(), start = top / a.div_factor(), end = start / a.final_div_factor();
  const double low = a.base_momentum(), high = a.max_momentum(), climb = a.pct_start() * total;
  std::vector<Phase> phases{{climb - 1, start, top, high, low}};
  if (a.three_phase()) {
    phases.push_back({2 * climb - 2, top, start, low, high});
    phases.push_back({total - 1, start, end, high, high});
  } else {
    phases.push_back({total - 1, top, end, low, high});
  }
  return phases;
}

double Anneal(bool linear, double from, double to, double fraction) {
  if (linear) return from + (to - from) * fraction;
  return to + (from - to) / 2 * (std::cos(std::numbers::pi * fraction) + 1);
}

// The phase that `e` lies in and the share of it that has passed. After the cycle: its end.
const Phase& PhaseAt(const std::vector<Phase>& phases, int64_t e, double* fraction) {
  double start = 0;
  const double at = std::min(static_cast<double>(e), phases.back().end);
  for (size_t i = 0;; ++i) {
    const Phase& p = phases[i];
    if (at <= p.end || i + 1 == phases.size()) {
      *fraction = p.end == start ? 1 : (at - start) / (p.end - start);
      return p;
    }
    start = p.end;
  }
}

absl::StatusOr<ScheduleRule> Make(v1::Dialect, const v1::OneCycleSchedule& a) {
  const double total = static_cast<double>(a.has_total_steps() ? a.total_steps() : a.epochs() * a.steps_per_epoch());
  const bool linear = a.anneal_strategy() == "linear";
  ScheduleRule r;
  r.rate = [phases = PhasesOf(a, total), linear](double, int64_t e) {
    double fraction = 0;
    const Phase& p = PhaseAt(phases, e, &fraction);
    return Anneal(linear, p.rate_from, p.rate_to, fraction);
  };
  if (!a.cycle_momentum()) return r;
  r.momentum = [phases = PhasesOf(a, total), linear](int64_t e) {
    double fraction = 0;
    const Phase& p = PhaseAt(phases, e, &fraction);
    return Anneal(linear, p.momentum_from, p.momentum_to, fraction);
  };
  return r;
}

}  // namespace

ScheduleComponent OneCycleSchedule() { return Schedule<v1::OneCycleSchedule>("one_cycle", &Make).PerUpdate(); }

}  // namespace strata::nn
