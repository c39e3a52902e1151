// Half waves of the cosine, once or again and again.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/nn/schedules/schedule.h"

namespace strata::nn {
namespace {

// 1 at the start of a half wave, 0 at its end.
double HalfWave(double fraction) { return 0.5 * (1 + std::cos(std::numbers::pi * fraction)); }

// Which cycle a point lies in, where the first has length one and each is `growth` times as long as the one before, and
// which share of it has passed.
struct Cycle {
  double index, fraction;
};
Cycle CycleAt(double at, double growth) {
  if (growth == 1) return {std::floor(at), at - std::floor(at)};
  const double i = std::floor(std::log(1 - at * (1 - growth)) / std::log(growth));
  const double start = (1 - std::pow(growth, i)) / (1 - growth);
  return {i, (at - start) / std::pow(growth, i)};
}

// PyTorch's lengths are whole, so that cycles are found without rounding.
double WholeFraction(int64_t e, int64_t length, int64_t growth) {
  while (e >= length && growth > 1) {
    e -= length;
    length *= growth;
  }
  return static_cast<double>(e % length) / static_cast<double>(length);
}

}  // namespace

ScheduleRule MakeCosine(v1::Dialect dialect, const v1::CosineSchedule& a) {
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

ScheduleRule MakeCosineRestarts(v1::Dialect dialect, const v1::CosineRestartsSchedule& a) {
  ScheduleRule r;
  if (dialect == v1::PYTORCH) {
    r.rate = [a](double base, int64_t e) {
      const double fraction = WholeFraction(e, a.first_decay_steps(), static_cast<int64_t>(a.t_mul()));
      return a.eta_min() + (base - a.eta_min()) * HalfWave(fraction);
    };
    return r;
  }
  r.rate = [a](double, int64_t e) {
    const Cycle c = CycleAt(static_cast<double>(e) / static_cast<double>(a.first_decay_steps()), a.t_mul());
    const double height = std::pow(a.m_mul(), c.index) * HalfWave(c.fraction);
    return a.initial_learning_rate() * ((1 - a.alpha()) * height + a.alpha());
  };
  return r;
}

}  // namespace strata::nn
