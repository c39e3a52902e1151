// Half waves of the cosine, again and again.
#include <cmath>

#include "absl/status/statusor.h"
#include "engine/nn/schedules/component.h"
#include "engine/nn/schedules/intervals.h"

namespace strata::nn {
namespace {

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

absl::StatusOr<ScheduleRule> Make(v1::Dialect dialect, const v1::CosineRestartsSchedule& a) {
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

}  // namespace

ScheduleComponent CosineRestartsSchedule() { return Schedule<v1::CosineRestartsSchedule>("cosine_restarts", &Make); }

}  // namespace strata::nn
