// Steady decays: exponential, polynomial, inverse time.
#include <algorithm>
#include <cmath>

#include "engine/nn/schedules/schedule.h"

namespace strata::nn {
namespace {

// Intervals of `length` that have passed.
double Intervals(int64_t e, int64_t length, bool whole) {
  const double p = static_cast<double>(e) / static_cast<double>(length);
  return whole ? std::floor(p) : p;
}

}  // namespace

ScheduleRule MakeExponential(v1::Dialect dialect, const v1::ExponentialSchedule& a) {
  ScheduleRule r;
  if (dialect == v1::PYTORCH) {
    r.rate = [gamma = a.decay_rate()](double base, int64_t e) {
      return base * std::pow(gamma, static_cast<double>(e));
    };
  } else {
    r.rate = [a](double, int64_t e) {
      return a.initial_learning_rate() * std::pow(a.decay_rate(), Intervals(e, a.decay_steps(), a.staircase()));
    };
  }
  return r;
}

ScheduleRule MakePolynomial(v1::Dialect dialect, const v1::PolynomialSchedule& a) {
  ScheduleRule r;
  if (dialect == v1::PYTORCH) {
    r.rate = [a](double base, int64_t e) {
      const double left = 1 - Intervals(std::min(e, a.decay_steps()), a.decay_steps(), false);
      return base * std::pow(left, a.power());
    };
    return r;
  }
  r.rate = [a](double, int64_t e) {
    double length = static_cast<double>(a.decay_steps()), at = static_cast<double>(e);
    if (a.cycle()) {
      length *= e == 0 ? 1 : std::ceil(at / length);
    } else {
      at = std::min(at, length);
    }
    return (a.initial_learning_rate() - a.end_learning_rate()) * std::pow(1 - at / length, a.power()) +
           a.end_learning_rate();
  };
  return r;
}

ScheduleRule MakeInverseTime(const v1::InverseTimeSchedule& a) {
  ScheduleRule r;
  r.rate = [a](double, int64_t e) {
    return a.initial_learning_rate() / (1 + a.decay_rate() * Intervals(e, a.decay_steps(), a.staircase()));
  };
  return r;
}

}  // namespace strata::nn
